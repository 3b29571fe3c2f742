// Calls the kernels as XLA does, with random arrays that are no larger than they must be: to be compiled with sanitizers.
// Each result is compared with plain loops in double precision.
//
// Arguments: how many calls, how many threads share one (every second has one more), how many callers there are at once.
// NO_THREADS: the process may start none.

#include "sparse_dense.cpp"

#include <cmath>
#include <random>

#ifdef NO_THREADS
#include <cerrno>
extern "C" int pthread_create(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*) noexcept { return EAGAIN; }
#endif

template <typename T>
using Array = std::vector<T>;

struct Lists {
  Array<int32_t> starts, across;
};

// The entries of a matrix by tile, line and place across; `order` gets where each was.
Lists listed(const Array<int32_t>& lines, const Array<int32_t>& across, int64_t tiles, int64_t count, int64_t size,
             Array<int32_t>* order) {
  const int64_t height = (size + tiles - 1) / tiles;
  order->resize(lines.size());
  for (size_t k = 0; k < lines.size(); ++k) (*order)[k] = k;
  const auto key = [&](int32_t k) { return (across[k] / height * count + lines[k]) * size + across[k]; };
  std::sort(order->begin(), order->end(), [&](int32_t a, int32_t b) { return key(a) < key(b); });
  Lists lists{Array<int32_t>(tiles * count + 1), {}};
  for (int32_t k : *order) {
    lists.across.push_back(across[k]);
    ++lists.starts[across[k] / height * count + lines[k] + 1];
  }
  for (int64_t k = 0; k < tiles * count; ++k) lists.starts[k + 1] += lists.starts[k];
  return lists;
}

bool close(const Array<float>& result, const Array<double>& right) {
  double most = 1e-30, difference = 0;
  for (size_t k = 0; k < right.size(); ++k) {
    most = std::max(most, std::abs(right[k]));
    difference = std::max(difference, std::isfinite(result[k]) ? std::abs(result[k] - right[k]) : 1e30);
  }
  return difference < 2e-5 * most + 1e-6;
}

Array<float> call(void (*kernel)(void*, const void**, const char*, size_t, void*), Array<const void*> operands,
                  const Sizes& sizes, int64_t tiles, int64_t length) {
  Array<float> result(length, NAN);
  char opaque[128];
  std::snprintf(opaque, sizeof(opaque), "%ld %ld %ld %ld %ld", sizes.batch, sizes.inputs, sizes.outputs, sizes.capacity,
                tiles);
  kernel(result.data(), operands.data(), opaque, std::strlen(opaque), nullptr);
  return result;
}

int check(unsigned seed) {
  std::mt19937 random(seed);
  const auto up_to = [&](int64_t most) { return static_cast<int64_t>(random() % most) + 1; };
  Sizes sizes;
  sizes.batch = up_to(201) - 1, sizes.inputs = up_to(300), sizes.outputs = up_to(90);
  const double densities[] = {0, 0.02, 0.2, 0.6, 1}, density = densities[random() % 5];
  const int64_t tiles = up_to(std::min<int64_t>(3, sizes.inputs));
  const int64_t across_tiles = up_to(std::min<int64_t>(3, sizes.outputs));
  Array<double> matrix(sizes.inputs * sizes.outputs);
  Array<int32_t> rows, columns;
  for (int64_t place = 0; place < sizes.inputs * sizes.outputs; ++place) {
    if (random() % 1000 >= 1000 * density) continue;
    rows.push_back(place / sizes.outputs), columns.push_back(place % sizes.outputs);
    matrix[place] = static_cast<float>(random() % 2001) / 1000 - 1;
  }
  const int64_t kept = rows.size();
  sizes.capacity = kept + up_to(4) - 1;
  const auto numbers = [&](int64_t count) {
    Array<float> array(count);
    for (float& one : array) one = static_cast<float>(random() % 2001) / 1000 - 1;
    return array;
  };
  const Array<float> x = numbers(sizes.batch * sizes.inputs), above = numbers(sizes.batch * sizes.outputs);
  Array<int32_t> order, transposed;
  Lists by_output = listed(columns, rows, tiles, sizes.outputs, sizes.inputs, &order);
  Array<int32_t> outputs_of, places;
  for (int32_t k : order) outputs_of.push_back(columns[k]), places.push_back(rows[k] * sizes.outputs + columns[k]);
  Lists by_input = listed(by_output.across, outputs_of, across_tiles, sizes.inputs, sizes.outputs, &transposed);
  for (auto* list : {&by_output.across, &by_input.across, &transposed, &places}) {
    list->resize(sizes.capacity);
    list->shrink_to_fit();
  }
  Array<float> floats_of(matrix.begin(), matrix.end());
  const int32_t count = kept;
  const auto values = call(take, {floats_of.data(), places.data(), &count}, sizes, 1, sizes.capacity);
  const auto to = [&](const Array<float>& array, int64_t features) {
    Sizes one = sizes;
    one.inputs = features;
    return call(to_blocks, {array.data()}, one, 1, padded(sizes.batch) * features);
  };
  const auto blocks = to(x, sizes.inputs), blocks_above = to(above, sizes.outputs);
  const auto product = call(multiply, {blocks.data(), values.data(), by_output.starts.data(), by_output.across.data()},
                            sizes, tiles, sizes.batch * sizes.outputs);
  const auto of_inputs = call(gradient_of_inputs, {blocks_above.data(), values.data(), by_input.starts.data(),
                                                   by_input.across.data(), transposed.data()},
                              sizes, across_tiles, sizes.batch * sizes.inputs);
  const auto of_values = call(gradient_of_values, {blocks.data(), blocks_above.data(), by_output.starts.data(),
                                                   by_output.across.data()},
                              sizes, tiles, sizes.capacity);
  const Array<float> zeros(matrix.size());
  const auto gradient = call(put, {zeros.data(), of_values.data(), places.data(), &count}, sizes, 1, matrix.size());
  Array<double> right(product.size()), right_inputs(of_inputs.size()), right_values(matrix.size());
  for (int64_t b = 0; b < sizes.batch; ++b)
    for (int64_t k = 0; k < kept; ++k) {
      const int64_t i = rows[k], o = columns[k];
      right[b * sizes.outputs + o] += x[b * sizes.inputs + i] * matrix[i * sizes.outputs + o];
      right_inputs[b * sizes.inputs + i] += above[b * sizes.outputs + o] * matrix[i * sizes.outputs + o];
      right_values[i * sizes.outputs + o] += static_cast<double>(x[b * sizes.inputs + i]) * above[b * sizes.outputs + o];
    }
  if (close(product, right) && close(of_inputs, right_inputs) && close(gradient, right_values)) return 0;
  std::printf("instruction set %d, seed %u: batch %ld, %ld x %ld, %ld kept, tiles %ld and %ld: wrong\n", level, seed, sizes.batch,
              sizes.inputs, sizes.outputs, kept, tiles, across_tiles);
  return 1;
}

int main(int, char** arguments) {
  const int calls = std::atoi(arguments[1]), count = std::atoi(arguments[2]), callers = std::atoi(arguments[3]);
  std::atomic<int> wrong{0};
  const auto run = [&](int caller) {
    for (int seed = caller; seed < calls; seed += callers) {
      tf_lottery_use_threads(count + seed % 2);
      wrong += check(seed);
    }
  };
  for (int chosen = BASELINE; chosen <= best_level(); ++chosen) {
    tf_lottery_use_level(chosen);
    std::vector<std::thread> threads;
    for (int caller = 1; caller < callers; ++caller) threads.emplace_back(run, caller);
    run(0);
    for (auto& thread : threads) thread.join();
  }
  std::printf("%d calls, %d wrong\n", (best_level() + 1) * calls, wrong.load());
  return wrong != 0;
}
