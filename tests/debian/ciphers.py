#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Known answers of vector ciphers: Debian's riscv64 openssl, which uses whatever hwprobe says there is, against the host's own openssl: digests, ciphers and
authentication codes of data of many lengths, as generated code, by the interpreter, and with less and less of the vector extensions.
Environment: ISOMER. Ends with "N passed, N failed"."""
import os
import random
import shutil
import subprocess
import sys
import tempfile

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
KEY = '00112233445566778899aabbccddeeff0123456789abcdeffedcba9876543210'
IV = 'ffffffffffffffffffffffffffffffff'  # counters wrap at once
DIGESTS = ('sha1', 'sha224', 'sha256', 'sha384', 'sha512', 'sm3', 'md5')
CIPHERS = (('aes-%d-%s' % (bits, mode), bits) for bits in (128, 192, 256) for mode in ('ecb', 'cbc', 'ctr'))
CIPHERS = tuple(CIPHERS) + tuple(('sm4-' + mode, 128) for mode in ('ecb', 'cbc', 'ctr')) + (('chacha20', 256),)
LENGTHS = (0, 1, 15, 16, 17, 55, 56, 63, 64, 65, 111, 119, 128, 255, 1000, 4099, 70000)
ALL = 'rv64gc_zba_zbb_zbc_zbs_v_zvbb_zvbc_zvkb_zvkg_zvkned_zvknha_zvknhb_zvksed_zvksh'
CAPABILITIES = (None, ALL, 'rv64gc_v_zvkb_zvkned_zvknha_zvkg', 'rv64gc_v_zvbb_zvbc', 'rv64gc')


def jobs():
    """[(name, arguments, input)]"""
    data = random.Random(1).randbytes(max(LENGTHS))
    out = [('%s of %d' % (d, n), ['dgst', '-' + d], data[:n]) for d in DIGESTS for n in LENGTHS]
    for name, bits in CIPHERS:
        key = ['enc', '-' + name, '-K', KEY[:bits // 4]] + ([] if name.endswith('ecb') else ['-iv', IV])
        out += [('%s of %d' % (name, n), key, data[:n]) for n in (1, 16, 47, 4099, 70000)]
    for bits in (128, 192, 256):
        for n in (1, 15, 16, 17, 100, 4099, 70000):
            out.append(('GMAC %d of %d' % (bits, n), ['mac', '-cipher', 'AES-%d-GCM' % bits, '-macopt', 'hexkey:' + KEY[:bits // 4], '-macopt',
                        'hexiv:000102030405060708090a0b', '-in', '/dev/stdin', 'GMAC'], data[:n]))
    return out


def run(command, job, env=None):
    done = subprocess.run(command + job[1], input=job[2], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env)
    return done.returncode, done.stdout.split()[-1:] if job[1][0] == 'dgst' else done.stdout  # its label differs between versions


def decrypts(command, job, env, answer):
    """What was enciphered is got back."""
    return run(command, (job[0], [job[1][0], '-d'] + job[1][1:], answer[1]), env) == (0, job[2])


def main():
    host, isomer = shutil.which('openssl'), os.environ['ISOMER']
    made = subprocess.run([os.path.join(TOP, 'tests', 'tools', 'riscv-root'), 'full'], stdout=subprocess.PIPE, text=True)
    if not host or made.returncode:
        print('skipped: no openssl here, or no riscv64 tree')
        print('0 passed, 0 failed')
        return
    root = made.stdout.strip()
    passed = failed = 0
    variants = [([], c, 1) for c in CAPABILITIES] + [(['--engine=interp'], None, 6)]
    answers = [(job, run([host], job)) for job in jobs()]
    with tempfile.TemporaryDirectory() as cache:
        for options, capabilities, step in variants:
            env = dict(os.environ, ISOMER_CACHE=cache, **({'OPENSSL_riscvcap': capabilities} if capabilities else {}))
            guest = [isomer, 'run'] + options + ['-L', root, root + '/usr/bin/openssl']
            for job, answer in answers[::step]:
                ok = run(guest, job, env) == answer and (job[1][0] != 'enc' or decrypts(guest, job, env, answer))
                passed, failed = passed + ok, failed + (not ok)
                if not ok and failed < 20:
                    print('FAIL %s%s, %s' % (' '.join(options), capabilities or 'as found', job[0]))
    print('%d passed, %d failed' % (passed, failed))
    sys.exit(failed != 0)


if __name__ == "__main__":
    main()
