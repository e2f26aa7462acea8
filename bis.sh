lo=0; hi=3000
while [ $((hi-lo)) -gt 1 ]; do m=$(( (lo+hi)/2 )); r=$(REG_MAX=$m sh /tmp/iso/P/repro-gcc.sh /tmp/iso/build-O1r/isomer 2>&1 | head -1); case "$r" in ok*) lo=$m;; *) hi=$m;; esac; echo $m $r; done; echo hi=$hi
