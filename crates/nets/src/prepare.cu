// From a picture's luma to the network's input, on the device: what src/reduce.rs and src/embed.rs of the core do on the CPU,
// in the same order of operations and without fused multiply-adds (--fmad=false), so that the bits are the same.
//
// The tests compile this very file for the CPU too (tests/prepare.rs); hence no shared memory and no intrinsics.

// The source pixels under one target pixel, along one axis: reduce.rs, `Run`.
struct Run {
  unsigned first, len;
  float head, tail, norm;
};

static __device__ float weight(const Run &run, unsigned k) {
  return run.norm * (k == 0 ? run.head : k + 1 == run.len ? run.tail : 1.0f);
}

// Area reduction: one thread a target pixel. Rows under it are summed first, as the CPU does.
extern "C" __global__ void reduce(const unsigned char *plane, unsigned stride, const Run *columns, const Run *rows,
                                  unsigned width, unsigned height, unsigned char *out) {
  const unsigned x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
  if (x >= width || y >= height) return;
  const Run column = columns[x], row = rows[y];
  const unsigned char *corner = plane + (unsigned long long)row.first * stride + column.first;
  float inner = 0.0f, first = 0.0f, last = 0.0f;
  for (unsigned i = 0; i < column.len; ++i) {
    float sum = 0.0f;
    for (unsigned k = 0; k < row.len; ++k) sum += weight(row, k) * (float)corner[(unsigned long long)k * stride + i];
    inner += sum;
    if (i == 0) first = sum;
    last = sum;
  }
  const float edges = (1.0f - column.head) * first + (column.len > 1 ? (1.0f - column.tail) * last : 0.0f);
  const float value = (inner - edges) * column.norm + 0.5f;
  out[(unsigned long long)y * width + x] = (unsigned char)(value >= 255.0f ? 255.0f : value > 0.0f ? value : 0.0f);
}

// Adds all pixels of the ring to *sum, which begins at zero. Whole numbers: the order makes no difference.
extern "C" __global__ void total(const unsigned char *ring, unsigned count, unsigned long long *sum) {
  unsigned long long own = 0;
  for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += gridDim.x * blockDim.x) own += ring[i];
  atomicAdd(sum, own);
}

// The stack, oldest picture first: (luma - mean of the stack) * gain. `next` is the oldest picture's place in the ring.
extern "C" __global__ void stack(const unsigned char *ring, unsigned slots, unsigned next, unsigned plane,
                                 const unsigned long long *sum, float gain, float *out) {
  const unsigned count = slots * plane;
  const float mean = (float)((double)*sum / (double)count);
  for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += gridDim.x * blockDim.x) {
    const unsigned picture = (next + i / plane) % slots;
    out[i] = ((float)ring[(unsigned long long)picture * plane + i % plane] - mean) * gain;
  }
}
