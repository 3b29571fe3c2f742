// Kernels of layers whose weights are mostly zero, called by XLA as custom calls.
//
// They are written once with vectors of any length and compiled for each instruction set. No header of TensorFlow is
// needed: the registry of custom calls is looked up by its name when the library is loaded.

#include <dlfcn.h>

#include <algorithm>
#include <charconv>
#include <cmath>
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

#include "conv_pass.inc"
#include "batch_norm_sizes.inc"

namespace baseline {
#define LANES 4
#define LOWS_1 0, 4, 1, 5
#define HIGHS_1 2, 6, 3, 7
#define LOWS_2 0, 1, 4, 5
#define HIGHS_2 2, 3, 6, 7
#define LOWS 0, 4, 1, 5
#define HIGHS 2, 6, 3, 7
#include "instruction_set.inc"
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
#include "instruction_set.inc"
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
#include "instruction_set.inc"
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

// Memory of a thread for `count` floats, from the beginning of a line of the cache on.
float* scratch(int64_t count) {
  constexpr size_t LINE = 64;
  thread_local std::vector<float> memory;
  if (memory.size() < count + LINE) memory.resize(count + LINE);
  const auto address = reinterpret_cast<uintptr_t>(memory.data());
  return reinterpret_cast<float*>((address + LINE - 1) / LINE * LINE);
}

const float* floats(const void* array) { return static_cast<const float*>(array); }
const int32_t* ints(const void* array) { return static_cast<const int32_t*>(array); }

// The functions that XLA calls. A result of one array is given as the array, not as a tuple.
float* result_of(void* output) { return static_cast<float*>(output); }

#include "dense_calls.inc"
#include "conv_calls.inc"
#include "batch_norm_calls.inc"

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
#define ADD(function) add(registry, "tf_lottery_" #function, reinterpret_cast<void*>(&function), host)
  ADD(to_blocks);
  ADD(take);
  ADD(put);
  ADD(multiply);
  ADD(gradient_of_inputs);
  ADD(gradient_of_values);
  ADD(to_lanes);
  ADD(from_lanes);
  ADD(convolution);
  ADD(convolution_gradient_of_inputs);
  ADD(convolution_gradient_of_values);
  ADD(max_pool);
  ADD(max_pool_gradient);
  ADD(batch_norm);
  ADD(batch_norm_gradient);
#undef ADD
  return nullptr;
}
}
