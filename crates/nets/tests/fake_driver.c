/* A driver without a GPU behind it, for driver.rs: every answer is set by -D. */
#include <stddef.h>
#include <string.h>

#ifndef INIT
#define INIT 0
#endif
#ifndef CUDA
#define CUDA 13000
#endif
#ifndef COUNT
#define COUNT 1
#endif
#ifndef MAJOR
#define MAJOR 8
#endif
#ifndef MINOR
#define MINOR 6
#endif
#ifndef FREE_MIB
#define FREE_MIB 8000
#endif
#ifndef RETAIN
#define RETAIN 0
#endif

static int retained;

int cuInit(unsigned flags) { return flags ? 1 : INIT; }
int cuDriverGetVersion(int *version) { *version = CUDA; return 0; }
int cuDeviceGetCount(int *count) { *count = COUNT; return 0; }
int cuDeviceGet(int *device, int ordinal) { *device = ordinal; return ordinal < COUNT ? 0 : 101; }
int cuDeviceGetName(char *name, int length, int device) { strncpy(name, "Fake GPU", (size_t)length); (void)device; return 0; }
int cuDeviceGetAttribute(int *value, int attribute, int device) {
  (void)device;
  switch (attribute) {
    case 75: *value = MAJOR; break;
    case 76: *value = MINOR; break;
    case 16: *value = 28; break;      /* multiprocessors */
    case 13: *value = 1777000; break; /* kHz */
    case 36: *value = 7501000; break; /* kHz */
    case 37: *value = 192; break;     /* bits */
    default: return 1;
  }
  return 0;
}
int cuDeviceTotalMem_v2(size_t *bytes, int device) { (void)device; *bytes = (size_t)12 << 30; return 0; }
#ifndef WITHOUT_CONTEXT
int cuDevicePrimaryCtxRetain(void **context, int device) { (void)device; *context = &retained; retained++; return RETAIN; }
int cuDevicePrimaryCtxRelease_v2(int device) { (void)device; return retained-- > 0 ? 0 : 201; }
int cuCtxPushCurrent_v2(void *context) { return context == &retained ? 0 : 201; }
int cuCtxPopCurrent_v2(void **context) { *context = &retained; return 0; }
int cuMemGetInfo_v2(size_t *free, size_t *total) { *free = (size_t)FREE_MIB << 20; *total = (size_t)12 << 30; return 0; }
#endif
