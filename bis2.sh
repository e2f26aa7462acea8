lo=0; hi=1254
while [ $((hi-lo)) -gt 1 ]; do m=$(( (lo+hi)/2 )); r=$(REG_MIN=$m REG_MAX=1254 sh /tmp/iso/P/repro-gcc.sh /tmp/iso/build-O1r/isomer 2>&1 | head -1); case "$r" in ok*) hi=$m;; *) lo=$m;; esac; echo $m $r; done; echo lo=$lo
