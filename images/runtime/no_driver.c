/* libnvidia-ml.so.1 for a pod without a GPU.
 *
 * The real library belongs to the NVIDIA driver and comes into a pod with its GPU. librapidsmpf 26.04 names it among the
 * libraries that it needs, although it uses none of its functions, so that without a driver even importing rapidsmpf
 * fails. This one lets it be imported, and answers whoever asks for GPUs what they would hear from no library at all.
 * Only a preflight pod, which has no GPU, puts its folder on LD_LIBRARY_PATH: it must never stand before the real one.
 */
enum { NVML_ERROR_LIBRARY_NOT_FOUND = 12 }; /* nvml.h */

int nvmlInit_v2(void) { return NVML_ERROR_LIBRARY_NOT_FOUND; }
int nvmlInitWithFlags(unsigned int flags) { (void)flags; return NVML_ERROR_LIBRARY_NOT_FOUND; }
int nvmlShutdown(void) { return NVML_ERROR_LIBRARY_NOT_FOUND; }
const char *nvmlErrorString(int result) { (void)result; return "there is no NVIDIA driver here"; }
