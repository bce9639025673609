#!/bin/sh
# Take from /opt/venv what the engines never open: what is linked with what was looked up with readelf and strings.
set -eu
cd "$(/opt/venv/bin/python -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')"
[ -d libcudf ] || exit 0   # not a RAPIDS release

# What C++ programs are compiled with. libcudf compiles kernels at run time from sources that it holds inside.
for package in libcudf libcudf_streaming libkvikio librapidsmpf librmm libucx libucxx rapids_logger; do
  rm -rf "$package/include" "$package"/lib*/cmake "$package"/lib*/pkgconfig
  [ ! -d "$package" ] || find "$package" \( -name '*.a' -o -name '*.la' \) -delete
done

# Nothing is linked with the compiler's second build, and nothing opens it; it is as big as the first.
rm -f nvidia/cuda_nvrtc/lib/libnvrtc.alt.so.* nvidia/cuda_nvrtc/lib/libnvrtc-builtins.alt.so.* nvidia/cu13/lib/libnvrtc*.alt.so.*

# Programs: nvcomp's example, and UCX's own benchmark.
rm -rf nvidia/libnvcomp/bin libucx/bin libucx/share/ucx/perftest
rm -f libucx/lib/ucx/libucx_perftest*

# A wheel has no symbolic links: each library of UCX lies there three times under names such as libucp.so, .so.0 and
# .so.0.0.0.
if [ -d libucx/lib ]; then
  find libucx/lib -name '*.so.*.*.*' | while read -r library; do
    for name in "${library%.*.*}" "${library%.*.*.*}"; do
      if cmp -s "$library" "$name"; then ln -sf "$(basename "$library")" "$name"; fi
    done
  done
fi
