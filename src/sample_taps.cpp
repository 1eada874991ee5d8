// Copyright 2026 stmask_ros developers
// SPDX-License-Identifier: Apache-2.0

// Takes the samples of a deformable convolution in one pass: the same as the PyTorch operators in
// layers/deformable.py. Plain C interface; layers/sampling.py loads it.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <system_error>
#include <thread>
#include <vector>

// One version for each generation of processors, chosen when the library is loaded.
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__)
#define EVERY_PROCESSOR \
  __attribute__((target_clones("arch=skylake-avx512", "arch=haswell", "default")))
#else
#define EVERY_PROCESSOR
#endif
#define INLINED inline __attribute__((always_inline))

namespace
{

// The upper half of a float.
struct BFloat16
{
  uint16_t bits;
};

// Which samples, of what, and where to. All arrays are contiguous; rows are cells of all images.
template<typename Number>
struct Task
{
  const float * table;       // [images, table_cells, channels]
  const float * offset;      // [images, cells, taps, 2], (y, x)
  const float * modulation;  // [images, cells, taps] or null
  const float * tap_y;       // [cells, taps]
  const float * tap_x;       // [cells, taps]
  const float * height;      // [cells], of the map that the cell looks at
  const float * width;       // [cells]
  const int32_t * first;     // [cells], where that map begins in the table
  Number * out;              // [end - begin, taps, channels]
  int64_t table_cells, cells, taps, channels, begin, end;
};

INLINED void store(float value, float & out) {out = value;}

INLINED void store(float value, BFloat16 & out)
{
  // To the nearest, ties to even. A NaN stays one: its lower half is zero, as that of the inputs.
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  out.bits = static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

// The sum of four cells; a function of its own, so that the compiler knows that nothing overlaps.
template<typename Number>
INLINED void blend(
  const float * __restrict a, const float * __restrict b, const float * __restrict c,
  const float * __restrict d, const float * weight, int64_t channels, Number * __restrict out)
{
  const float w0 = weight[0], w1 = weight[1], w2 = weight[2], w3 = weight[3];
  for (int64_t i = 0; i < channels; ++i) {
    store(w0 * a[i] + w1 * b[i] + w2 * c[i] + w3 * d[i], out[i]);
  }
}

// The sample at (y, x) of a map [height, width, channels], zeros outside.
template<typename Number>
INLINED void sample(
  const float * map, float y, float x, float height, float width, float factor,
  int64_t channels, Number * out)
{
  if (!(y > -1 && y < height && x > -1 && x < width)) {  // also where it is not a number
    std::memset(out, 0, channels * sizeof(Number));
    return;
  }
  // The cells around, of which those outside the map have no weight.
  const int32_t rows = static_cast<int32_t>(height), columns = static_cast<int32_t>(width);
  const int32_t top = static_cast<int32_t>(y + 1) - 1, left = static_cast<int32_t>(x + 1) - 1;
  const int32_t bottom = top + 1, right = left + 1;
  const float below = y - top, after = x - left;
  const float lower = bottom < rows ? below * factor : 0;
  const float upper = top < 0 ? 0 : (1 - below) * factor;
  const float east = right < columns ? after : 0, west = left < 0 ? 0 : 1 - after;
  const float weight[] = {upper * west, upper * east, lower * west, lower * east};
  const float * above = map + std::max(top, 0) * columns * channels;
  const float * beneath = map + std::min(bottom, rows - 1) * columns * channels;
  const int64_t first = std::max(left, 0) * channels;
  const int64_t second = std::min(right, columns - 1) * channels;
  blend(
    above + first, above + second, beneath + first, beneath + second, weight, channels, out);
}

template<typename Number>
INLINED void sample_rows(const Task<Number> & task, int64_t begin, int64_t end)
{
  Number * out = task.out + (begin - task.begin) * task.taps * task.channels;
  for (int64_t row = begin; row < end; ++row) {
    const int64_t image = row / task.cells, cell = row % task.cells;
    const float * map = task.table + (image * task.table_cells + task.first[cell]) * task.channels;
    const float * offset = task.offset + 2 * row * task.taps;
    const float * tap_y = task.tap_y + cell * task.taps, * tap_x = task.tap_x + cell * task.taps;
    for (int64_t tap = 0; tap < task.taps; ++tap, out += task.channels) {
      sample(
        map, offset[2 * tap] + tap_y[tap], offset[2 * tap + 1] + tap_x[tap], task.height[cell],
        task.width[cell], task.modulation ? task.modulation[row * task.taps + tap] : 1,
        task.channels, out);
    }
  }
}

EVERY_PROCESSOR void sample_part(const Task<float> & task, int64_t begin, int64_t end)
{
  sample_rows(task, begin, end);
}

EVERY_PROCESSOR void sample_part(const Task<BFloat16> & task, int64_t begin, int64_t end)
{
  sample_rows(task, begin, end);
}

template<typename Number>
void sample_all(const Task<Number> & task, int64_t threads)
{
  std::vector<std::thread> others;
  others.reserve(threads);
  int64_t begin = task.begin;
  try {
    for (int64_t parts = threads; parts > 1; --parts) {
      const int64_t end = begin + (task.end - begin) / parts;
      others.emplace_back([&task, begin, end] {sample_part(task, begin, end);});
      begin = end;
    }
  } catch (const std::system_error &) {
    // The system gives no thread: this one does the rest.
  }
  sample_part(task, begin, task.end);
  for (std::thread & other : others) {
    other.join();
  }
}

}  // namespace

extern "C" void stmask_sample_taps_float32(const Task<float> * task, int64_t threads)
{
  sample_all(*task, threads);
}

extern "C" void stmask_sample_taps_bfloat16(const Task<BFloat16> * task, int64_t threads)
{
  sample_all(*task, threads);
}
