#!/bin/sh
# Install the project's own wheel below /staged, laid out as it will lie in the image.
set -eu
python3 -m pip --python /opt/venv/bin/python install \
  --quiet --no-cache-dir --no-compile --no-deps --no-index --root /staged /dist/gpuquery-*.whl
/opt/venv/bin/python -m compileall -q --invalidation-mode unchecked-hash -s /staged /staged/opt/venv/lib
