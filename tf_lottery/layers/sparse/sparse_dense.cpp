// Kernels of dense layers whose weights are mostly zero, called by XLA as custom calls.
//
// The values of a matrix (inputs, outputs) are listed output by output: `starts` says where the values of an output
// begin, `lines` which input each of them belongs to. Where there are many, the inputs are cut into tiles whose
// activations fit the processor's first cache: the values are listed tile by tile, and `starts` has tiles * outputs + 1
// places. The gradient of the inputs goes through the same values input by input: `starts` (tiles * inputs + 1), `lines`
// (outputs), and `positions`, the place of each in the list of values.
//
// No header of TensorFlow is needed: the registry of custom calls is looked up by its name when the library is loaded.

#include <dlfcn.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "threads.inc"

namespace {

constexpr int64_t BLOCK = 64, STEP = 16;
constexpr int64_t LEAST_WORK = 300'000;  // multiplications that are worth another thread

struct Range {
  int64_t first, last;
};

inline int64_t padded(int64_t examples) { return (examples + STEP - 1) / STEP * STEP; }

namespace baseline {
#define LANES 4
#define LOWS_1 0, 4, 1, 5
#define HIGHS_1 2, 6, 3, 7
#define LOWS_2 0, 1, 4, 5
#define HIGHS_2 2, 3, 6, 7
#define LOWS 0, 4, 1, 5
#define HIGHS 2, 6, 3, 7
#include "sparse_dense.inc"
}  // namespace baseline

#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif
namespace avx2 {
#define LANES 8
#define LOWS_1 0, 8, 1, 9, 4, 12, 5, 13
#define HIGHS_1 2, 10, 3, 11, 6, 14, 7, 15
#define LOWS_2 0, 1, 8, 9, 4, 5, 12, 13
#define HIGHS_2 2, 3, 10, 11, 6, 7, 14, 15
#define LOWS_3 0, 1, 2, 3, 8, 9, 10, 11
#define HIGHS_3 4, 5, 6, 7, 12, 13, 14, 15
#define LOWS 0, 8, 1, 9, 2, 10, 3, 11
#define HIGHS 4, 12, 5, 13, 6, 14, 7, 15
#include "sparse_dense.inc"
}  // namespace avx2
#if defined(__clang__)
#pragma clang attribute pop
#pragma clang attribute push(__attribute__((target("avx512f,avx512vl,avx512dq,avx512bw,avx2,fma"))), apply_to = function)
#else
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx512f,avx512vl,avx512dq,avx512bw,avx2,fma,prefer-vector-width=512")
#endif
namespace avx512 {
#define LANES 16
#define LOWS_1 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29
#define HIGHS_1 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31
#define LOWS_2 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29
#define HIGHS_2 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31
#define LOWS_3 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23
#define HIGHS_3 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31
#define LOWS_4 0, 1, 2, 3, 8, 9, 10, 11
#define HIGHS_4 4, 5, 6, 7, 12, 13, 14, 15
#define LOWS 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define HIGHS 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#include "sparse_dense.inc"
}  // namespace avx512
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif  // x86_64

enum Level { BASELINE = 0, AVX2 = 1, AVX512 = 2 };

Level best_level() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512bw"))
    return AVX512;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return AVX2;
#endif
  return BASELINE;
}

Level level = BASELINE;

#if defined(__x86_64__)
#define DISPATCH(call)                      \
  switch (level) {                          \
    case AVX512: avx512::call; break;       \
    case AVX2: avx2::call; break;           \
    default: baseline::call; break;         \
  }
#else
#define DISPATCH(call) baseline::call
#endif

struct Sizes {
  int64_t batch = 0, inputs = 0, outputs = 0, capacity = 0, tiles = 1;
};

Sizes sizes_of(const char* opaque, size_t length) {
  Sizes sizes;
  std::sscanf(std::string(opaque, length).c_str(), "%ld %ld %ld %ld %ld", &sizes.batch, &sizes.inputs, &sizes.outputs,
              &sizes.capacity, &sizes.tiles);
  return sizes;
}

float* scratch(int64_t count) {
  thread_local std::vector<float> memory;
  if (static_cast<int64_t>(memory.size()) < count) memory.resize(count);
  return memory.data();
}

const float* floats(const void* array) { return static_cast<const float*>(array); }
const int32_t* ints(const void* array) { return static_cast<const int32_t*>(array); }

// The functions that XLA calls. A result of one array is given as the array, not as a tuple.
float* result_of(void* output) { return static_cast<float*>(output); }

// Calls a function for each of some ranges of `count` lines, side by side in the threads. Each line is computed by one
// thread in one order, so results don't depend on how many there are. `work`: multiplications of the whole call.
template <typename Function>
void in_ranges(int64_t count, int64_t work, const int32_t* starts, int64_t tiles, Function function) {
  const int64_t parts = std::max<int64_t>(1, std::min({threads::count(), work / LEAST_WORK, count}));
  // Lines have different numbers of values: each range gets as many values, as far as the first tile shows.
  const auto bound = [&](int64_t part) {
    if (part == parts) return count;
    if (starts == nullptr || tiles > 1) return count * part / parts;
    return static_cast<int64_t>(std::lower_bound(starts, starts + count, starts[count] / parts * part) - starts);
  };
  threads::run(parts, [&](int64_t part) { function(Range{bound(part), bound(part + 1)}); });
}

void to_blocks(void* output, const void** inputs, const char* opaque, size_t length, void*) {
  const Sizes sizes = sizes_of(opaque, length);
  in_ranges(sizes.inputs, sizes.batch * sizes.inputs, nullptr, 1, [&](Range range) {
    DISPATCH(to_blocks(floats(inputs[0]), sizes.batch, sizes.inputs, range, result_of(output)))
  });
}

void multiply(void* output, const void** inputs, const char* opaque, size_t length, void*) {
  const Sizes sizes = sizes_of(opaque, length);
  const int32_t* starts = ints(inputs[2]);
  float* memory = scratch(sizes.outputs * BLOCK);
  in_ranges(sizes.outputs, sizes.batch * starts[sizes.tiles * sizes.outputs], starts, sizes.tiles, [&](Range range) {
    DISPATCH(multiply<false>(floats(inputs[0]), floats(inputs[1]), starts, ints(inputs[3]), nullptr, sizes.tiles,
                             sizes.batch, sizes.inputs, sizes.outputs, range, memory, result_of(output)))
  });
}

void gradient_of_inputs(void* output, const void** inputs, const char* opaque, size_t length, void*) {
  const Sizes sizes = sizes_of(opaque, length);
  const int32_t* starts = ints(inputs[2]);
  float* memory = scratch(sizes.inputs * BLOCK);
  in_ranges(sizes.inputs, sizes.batch * starts[sizes.tiles * sizes.inputs], starts, sizes.tiles, [&](Range range) {
    DISPATCH(multiply<true>(floats(inputs[0]), floats(inputs[1]), starts, ints(inputs[3]), ints(inputs[4]), sizes.tiles,
                            sizes.batch, sizes.outputs, sizes.inputs, range, memory, result_of(output)))
  });
}

// The values of a matrix, (inputs * outputs) floats, at the places `inputs[1]`.
void take(void* output, const void** inputs, const char* opaque, size_t length, void*) {
  const Sizes sizes = sizes_of(opaque, length);
  const float* matrix = floats(inputs[0]);
  const int32_t *places = ints(inputs[1]), count = *ints(inputs[2]);
  float* values = result_of(output);
  for (int32_t k = 0; k < count; ++k) values[k] = matrix[places[k]];
  std::fill(values + count, values + sizes.capacity, 0.0f);
}

// A matrix with values put at the places `inputs[2]`.
void put(void* output, const void** inputs, const char* opaque, size_t length, void*) {
  const Sizes sizes = sizes_of(opaque, length);
  const float* values = floats(inputs[1]);
  const int32_t *places = ints(inputs[2]), count = *ints(inputs[3]);
  float* matrix = result_of(output);
  if (matrix != inputs[0]) std::memcpy(matrix, inputs[0], sizes.inputs * sizes.outputs * sizeof(float));
  for (int32_t k = 0; k < count; ++k) matrix[places[k]] = values[k];
}

void gradient_of_values(void* output, const void** inputs, const char* opaque, size_t length, void*) {
  const Sizes sizes = sizes_of(opaque, length);
  const int32_t* starts = ints(inputs[2]);
  const int32_t kept = sizes.batch > 0 ? starts[sizes.tiles * sizes.outputs] : 0;  // no examples, no gradients
  float* gradients = result_of(output);
  if (kept > 0) {
    in_ranges(sizes.outputs, sizes.batch * kept, starts, sizes.tiles, [&](Range range) {
      DISPATCH(gradient_of_values(floats(inputs[0]), floats(inputs[1]), starts, ints(inputs[3]), sizes.tiles,
                                  sizes.batch, sizes.inputs, sizes.outputs, range, gradients))
    });
  }
  std::fill(gradients + kept, gradients + sizes.capacity, 0.0f);
}

}  // namespace

extern "C" {

int tf_lottery_best_level() { return best_level(); }

void tf_lottery_use_level(int chosen) { level = static_cast<Level>(std::min<int>(chosen, best_level())); }

void tf_lottery_use_threads(int count) { threads::use(count); }

// Returns nullptr, or why the kernels can't be registered.
const char* tf_lottery_register(const char* library) {
  void* tensorflow = dlopen(library, RTLD_LAZY | RTLD_NOLOAD);
  if (tensorflow == nullptr) return "TensorFlow's library is not loaded";
  using Global = void* (*)();
  using Register = void (*)(void*, const std::string&, void*, const std::string&);
  auto global = reinterpret_cast<Global>(dlsym(tensorflow, "_ZN3xla24CustomCallTargetRegistry6GlobalEv"));
  auto add = reinterpret_cast<Register>(
      dlsym(tensorflow,
            "_ZN3xla24CustomCallTargetRegistry8RegisterERKNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEEPvS8_"));
  if (global == nullptr || add == nullptr) return "this TensorFlow has no registry of custom calls";
  const std::string host = "Host";
  void* registry = global();
  add(registry, "tf_lottery_to_blocks", reinterpret_cast<void*>(&to_blocks), host);
  add(registry, "tf_lottery_take", reinterpret_cast<void*>(&take), host);
  add(registry, "tf_lottery_put", reinterpret_cast<void*>(&put), host);
  add(registry, "tf_lottery_multiply", reinterpret_cast<void*>(&multiply), host);
  add(registry, "tf_lottery_gradient_of_inputs", reinterpret_cast<void*>(&gradient_of_inputs), host);
  add(registry, "tf_lottery_gradient_of_values", reinterpret_cast<void*>(&gradient_of_values), host);
  return nullptr;
}
}
