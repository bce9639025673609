#!/bin/sh
# Install /requirements.txt into /opt/venv, compiled and without what never runs.
set -eu
python3 -m venv --without-pip /opt/venv
python3 -m pip --python /opt/venv/bin/python install \
  --quiet --no-cache-dir --no-compile --only-binary :all: --require-hashes -r /requirements.txt
packages=$(/opt/venv/bin/python -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')
find "$packages" -type d -name tests -prune -exec rm -rf {} +
# boto's descriptions of every cloud service are 100 MB; queries speak to object storage and sign in.
if [ -d "$packages/botocore/data" ]; then
  find "$packages/botocore/data" "$packages/boto3/data" -mindepth 1 -maxdepth 1 -type d \
    ! -name 's3*' ! -name 'sts' ! -name 'sso*' -exec rm -rf {} +
fi
# Checked by nothing at run time: files may then have any date, and nothing is compiled at start.
/opt/venv/bin/python -m compileall -q --invalidation-mode unchecked-hash "$packages"
