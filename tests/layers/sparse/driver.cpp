// Calls the kernels as XLA does, with random arrays that are no larger than they must be: to be compiled with sanitizers.
// Each result is compared with plain loops in double precision.
//
// Arguments: how many calls, how many threads share one (every second has one more), how many callers there are at once.
// NO_THREADS: the process may start none.

#include "kernels.cpp"

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

using Kernel = void (*)(void*, const void**, const char*, size_t, void*);

Array<float> call(Kernel kernel, Array<const void*> operands, const std::string& opaque, int64_t length) {
  Array<float> result(length, NAN);
  kernel(result.data(), operands.data(), opaque.data(), opaque.size(), nullptr);
  return result;
}

Array<float> call(Kernel kernel, Array<const void*> operands, const Sizes& sizes, int64_t tiles, int64_t length) {
  char opaque[128];
  std::snprintf(opaque, sizeof(opaque), "%ld %ld %ld %ld %ld", sizes.batch, sizes.inputs, sizes.outputs, sizes.capacity,
                tiles);
  return call(kernel, operands, std::string(opaque), length);
}

Array<float> numbers(std::mt19937& random, int64_t count) {
  Array<float> array(count);
  for (float& one : array) one = static_cast<float>(random() % 2001) / 1000 - 1;
  return array;
}

// A number of a kernel, and the filter, the channel and the place that it belongs to.
struct Weight {
  int64_t filter, channel, y, x;
};

struct TapList {
  Array<int32_t> starts, taps, order;
};

// The weights by line and tap; `order` says where each was.
template <typename Line, typename Place>
TapList tap_list(const Array<Weight>& weights, int64_t lines, int64_t capacity, Line line, Place place) {
  TapList list{Array<int32_t>(lines + 1), {}, Array<int32_t>(weights.size())};
  for (size_t k = 0; k < weights.size(); ++k) list.order[k] = k, ++list.starts[line(weights[k]) + 1];
  for (int64_t k = 0; k < lines; ++k) list.starts[k + 1] += list.starts[k];
  std::sort(list.order.begin(), list.order.end(), [&](int32_t a, int32_t b) {
    return std::make_pair(line(weights[a]), place(weights[a])) < std::make_pair(line(weights[b]), place(weights[b]));
  });
  for (int32_t k : list.order) list.taps.push_back(place(weights[k]));
  for (auto* array : {&list.taps, &list.order}) array->resize(capacity), array->shrink_to_fit();
  return list;
}

int check_convolution(unsigned seed) {
  std::mt19937 random(seed);
  const auto up_to = [&](int64_t most) { return static_cast<int64_t>(random() % most) + 1; };
  ConvSizes s{};
  s.batch = up_to(40) - 1, s.kernel_y = up_to(4), s.kernel_x = up_to(4), s.stride_y = up_to(3), s.stride_x = up_to(3);
  s.height = up_to(9) + 3, s.width = up_to(9) + 3, s.channels = up_to(40), s.filters = up_to(40);
  s.padding_y = up_to(s.kernel_y) - 1, s.padding_x = up_to(s.kernel_x) - 1;
  s.rows = (s.height + s.padding_y - s.kernel_y) / s.stride_y + 1, s.columns = up(s.width, s.stride_x);
  s.tiles = up_to(std::min<int64_t>(3, s.channels)), s.transposed_tiles = up_to(std::min<int64_t>(3, s.filters));
  const double densities[] = {0, 0.02, 0.2, 1}, density = densities[random() % 4];
  Array<Weight> drawn, weights;
  for (int64_t place = 0; place < s.kernel_y * s.kernel_x * s.channels * s.filters; ++place) {
    if (random() % 1000 >= 1000 * density) continue;
    const int64_t tap = place / s.filters / s.channels;
    drawn.push_back({place % s.filters, place / s.filters % s.channels, tap / s.kernel_x, tap % s.kernel_x});
  }
  s.capacity = drawn.size() + up_to(4) - 1;
  const auto forward = tap_list(drawn, s.tiles * s.filters, s.capacity,
                                [&](const Weight& w) { return w.channel / up(s.channels, s.tiles) * s.filters + w.filter; },
                                [&](const Weight& w) { return (w.channel * s.kernel_y + w.y) * s.kernel_x + w.x; });
  for (size_t k = 0; k < drawn.size(); ++k) weights.push_back(drawn[forward.order[k]]);
  const auto backward = tap_list(weights, s.stride_y * s.stride_x * s.transposed_tiles * s.channels, s.capacity,
                                 [&](const Weight& w) {
                                   const int64_t phase = w.y % s.stride_y * s.stride_x + w.x % s.stride_x;
                                   const int64_t tile = w.filter / up(s.filters, s.transposed_tiles);
                                   return (phase * s.transposed_tiles + tile) * s.channels + w.channel;
                                 },
                                 [&](const Weight& w) { return (w.filter * s.kernel_y + w.y) * s.kernel_x + w.x; });
  std::string opaque;
  for (const int64_t* field = &s.batch; field <= &s.transposed_tiles; ++field) opaque += std::to_string(*field) + " ";
  const auto images_of = [&](int64_t pixels, int64_t channels) { return "" + std::to_string(s.batch) + " " + std::to_string(pixels) + " " + std::to_string(channels) + " 0"; };
  const int64_t pixels = s.height * s.width, positions = s.rows * s.columns, rows = padded(s.batch);
  const Array<float> x = numbers(random, s.batch * pixels * s.channels), dy = numbers(random, s.batch * positions * s.filters);
  const Array<float> values = numbers(random, s.capacity);
  const auto blocked = call(to_lanes, {x.data()}, images_of(pixels, s.channels), rows * pixels * s.channels);
  const auto blocked_dy = call(to_lanes, {dy.data()}, images_of(positions, s.filters), rows * positions * s.filters);
  const auto y = call(convolution, {blocked.data(), values.data(), forward.starts.data(), forward.taps.data()}, opaque,
                      rows * positions * s.filters);
  const auto of_x = call(convolution_gradient_of_inputs, {blocked_dy.data(), values.data(), backward.starts.data(),
                                                          backward.taps.data(), backward.order.data()},
                         opaque, rows * pixels * s.channels);
  const auto of_values = call(convolution_gradient_of_values, {blocked.data(), blocked_dy.data(), forward.starts.data(),
                                                               forward.taps.data()},
                              opaque, s.capacity);
  const auto back = call(from_lanes, {y.data()}, images_of(positions, s.filters), dy.size());
  const auto back_x = call(from_lanes, {of_x.data()}, images_of(pixels, s.channels), x.size());
  Array<double> right(dy.size()), right_x(x.size()), right_values(s.capacity);
  for (size_t k = 0; k < weights.size(); ++k) {
    const Weight w = weights[k];
    for (int64_t place = 0; place < s.batch * positions; ++place) {
      const int64_t row = place % positions / s.columns * s.stride_y + w.y - s.padding_y;
      const int64_t column = place % s.columns * s.stride_x + w.x - s.padding_x;
      if (row < 0 || row >= s.height || column < 0 || column >= s.width) continue;
      const int64_t from = ((place / positions * s.height + row) * s.width + column) * s.channels + w.channel;
      const int64_t to = place * s.filters + w.filter;
      right[to] += static_cast<double>(values[k]) * x[from];
      right_x[from] += static_cast<double>(values[k]) * dy[to];
      right_values[k] += static_cast<double>(x[from]) * dy[to];
    }
  }
  if (close(back, right) && close(back_x, right_x) && close(of_values, right_values)) return 0;
  std::printf("instruction set %d, convolution %u: %s wrong\n", level, seed, opaque.c_str());
  return 1;
}

// Batch normalization and pooling: what they compute is checked in Python.
int check_blocked(unsigned seed) {
  std::mt19937 random(seed);
  const int64_t batch = random() % 40 + 1, channels = random() % 9 + 1, height = random() % 9 + 2, width = random() % 9 + 2;
  const int64_t size = padded(batch) * channels * height * width;
  const Array<float> x = numbers(random, size), dy = numbers(random, size), gamma = numbers(random, channels);
  Array<float> result(size), mean(channels), variance(channels), of_gamma(channels), of_beta(channels);
  const std::string norm = std::to_string(batch) + " " + std::to_string(channels) + " " + std::to_string(height * width) + " 1 0.001";
  void* forward[] = {result.data(), mean.data(), variance.data()};
  const void* read[] = {x.data(), gamma.data(), gamma.data(), mean.data(), variance.data(), dy.data()};
  batch_norm(forward, read, norm.data(), norm.size(), nullptr);
  void* backward[] = {result.data(), of_gamma.data(), of_beta.data()};
  batch_norm_gradient(backward, read, norm.data(), norm.size(), nullptr);
  const int64_t rows = (height - 2) / 2 + 1, columns = (width - 2) / 2 + 1;
  std::string pool;
  for (int64_t number : {batch, int64_t{2}, int64_t{2}, int64_t{2}, int64_t{2}, int64_t{0}, int64_t{0}, height, width, channels, rows, columns, channels})
    pool += std::to_string(number) + " ";
  const auto pooled = call(max_pool, {x.data()}, pool, padded(batch) * channels * rows * columns);
  const auto of_x = call(max_pool_gradient, {x.data(), pooled.data()}, pool, size);
  double sum = 0, sum_back = 0;
  for (float one : pooled) sum += one;
  for (float one : of_x) sum_back += one;
  if (std::abs(sum - sum_back) < 1e-4 * (1 + std::abs(sum))) return 0;
  std::printf("instruction set %d, pooling %u: wrong\n", level, seed);
  return 1;
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
  const Array<float> x = numbers(random, sizes.batch * sizes.inputs);
  const Array<float> above = numbers(random, sizes.batch * sizes.outputs);
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
      wrong += check(seed) + check_convolution(seed) + check_blocked(seed);
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
