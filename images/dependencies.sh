#!/bin/sh
# Install /requirements.txt, less what /left-out.txt names, into /opt/venv, compiled and without what never runs.
set -eu
[ -e /left-out.txt ] || : > /left-out.txt
# A package is a line that starts with its name, and the indented lines below it: its hashes.
awk 'FILENAME == "/left-out.txt" { out[$1]; next }
     /^[^ #]/ { name = $1; sub(/==.*/, "", name); left = (name in out) }
     !left' /left-out.txt /requirements.txt > /wanted.txt
python3 -m venv --without-pip /opt/venv
# The lock is complete, so that nothing needs to be added; what was left out must not be.
python3 -m pip --python /opt/venv/bin/python install --quiet --no-cache-dir --no-compile --no-deps \
  --only-binary :all: --require-hashes -r /wanted.txt
packages=$(/opt/venv/bin/python -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')
find "$packages" -type d -name tests -prune -exec rm -rf {} +
# What Cython compiled the modules from, and what only type checkers read.
find "$packages" \( -name '*.pyx' -o -name '*.pyx.in' -o -name '*.pxd' -o -name '*.pxd.in' -o -name '*.pxi' -o -name '*.pyi' \) -delete
# boto's descriptions of every cloud service are 100 MB; queries speak to object storage and sign in.
if [ -d "$packages/botocore/data" ]; then
  find "$packages/botocore/data" "$packages/boto3/data" -mindepth 1 -maxdepth 1 -type d \
    ! -name 's3*' ! -name 'sts' ! -name 'sso*' -exec rm -rf {} +
fi
# Checked by nothing at run time: files may then have any date, and nothing is compiled at start.
/opt/venv/bin/python -m compileall -q --invalidation-mode unchecked-hash "$packages"
