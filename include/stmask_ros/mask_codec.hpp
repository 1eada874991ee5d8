// Copyright 2026 stmask_ros developers
// SPDX-License-Identifier: Apache-2.0

// Decoder of stmask_ros/msg/InstanceMask. C++17, header only; needs neither ROS nor OpenCV.
//
//   #include <stmask_ros/mask_codec.hpp>
//   stmask_ros::Pixels mask = stmask_ros::decode_full(instance.mask, array.image_height,
//                                                     array.image_width);
//   bool inside = mask.at(row, column);
//
// CMake: find_package(stmask_ros REQUIRED), target_link_libraries(... stmask_ros::mask_codec).

#ifndef STMASK_ROS__MASK_CODEC_HPP_
#define STMASK_ROS__MASK_CODEC_HPP_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace stmask_ros
{

/// Values of InstanceMask.encoding.
enum class MaskEncoding : std::uint8_t { NONE = 0, COCO_RLE = 1, BITPACK = 2, MONO8 = 3 };

/// Largest mask that is decoded [pixel]: a message cannot ask for more memory than this.
constexpr std::uint64_t MAXIMUM_PIXELS = std::uint64_t{1} << 28;

/// The longest text of a number in COCO_RLE; larger ones are no run of a mask.
constexpr std::uint64_t MOST_CHARACTERS = 7;

/// A mask, row by row: one byte a pixel, 0 outside and 1 inside.
struct Pixels
{
  std::size_t height = 0;
  std::size_t width = 0;
  std::vector<std::uint8_t> data;

  bool at(std::size_t row, std::size_t column) const {return data[row * width + column] != 0;}
};

namespace detail
{

inline Pixels blank(std::uint64_t height, std::uint64_t width)
{
  if (width != 0 && height > MAXIMUM_PIXELS / width) {
    throw std::invalid_argument(
            "mask of " + std::to_string(height) + "x" + std::to_string(width) +
            " pixels is too large");
  }
  Pixels pixels;
  pixels.height = static_cast<std::size_t>(height);
  pixels.width = static_cast<std::size_t>(width);
  pixels.data.assign(pixels.height * pixels.width, 0);
  return pixels;
}

/// Reads the numbers of a compressed COCO string, one after the other.
///
/// Each character holds, above '0', five bits of a number (least significant first) and a sixth
/// that says whether more follow. The last character's fifth bit is the sign. From the fourth
/// number on, what is written is the difference from the number two places before.
template<typename Bytes>
class RunReader
{
public:
  explicit RunReader(const Bytes & bytes)
  : bytes_(bytes) {}

  bool at_end() const {return position_ == bytes_.size();}

  /// Return the length of the next run [pixel]; throw if the string is not a valid one.
  std::uint64_t next()
  {
    std::int64_t run = number();
    if (count_ > 2) {
      run += two_before_;
    }
    if (run < 0) {
      throw std::invalid_argument("COCO_RLE: a run has a negative length");
    }
    two_before_ = std::exchange(one_before_, run);
    ++count_;
    return static_cast<std::uint64_t>(run);
  }

private:
  std::int64_t number()
  {
    std::int64_t value = 0;
    for (unsigned shift = 0; ; shift += 5) {
      if (at_end() || shift >= 5 * MOST_CHARACTERS) {
        throw std::invalid_argument("COCO_RLE: the data ends within a number");
      }
      const int character = static_cast<std::uint8_t>(bytes_[position_++]) - '0';
      if (character < 0 || character > 63) {
        throw std::invalid_argument("COCO_RLE: a byte is none of the encoding's characters");
      }
      value |= static_cast<std::int64_t>(character & 31) << shift;
      if ((character & 32) == 0) {
        const bool negative = (character & 16) != 0;
        return negative ? value - (std::int64_t{1} << (shift + 5)) : value;
      }
    }
  }

  const Bytes & bytes_;
  std::size_t position_ = 0;
  std::size_t count_ = 0;
  std::int64_t one_before_ = 0;
  std::int64_t two_before_ = 0;
};

/// Set `length` pixels from number `begin` on, counted down the columns.
inline void fill_run(std::uint64_t begin, std::uint64_t length, Pixels & pixels)
{
  std::size_t row = begin % pixels.height;
  std::size_t column = begin / pixels.height;
  for (; length > 0; --length) {
    pixels.data[row * pixels.width + column] = 1;
    if (++row == pixels.height) {
      row = 0;
      ++column;
    }
  }
}

template<typename Bytes>
void fill_from_runs(const Bytes & bytes, Pixels & pixels)
{
  const std::uint64_t total = pixels.data.size();
  if (bytes.size() > MOST_CHARACTERS * (total + 1)) {
    throw std::invalid_argument("COCO_RLE: there are more bytes than the region can need");
  }
  RunReader<Bytes> reader(bytes);
  std::uint64_t begin = 0;
  for (bool inside = false; !reader.at_end(); inside = !inside) {
    const std::uint64_t run = reader.next();
    if (run > total - begin) {
      throw std::invalid_argument("COCO_RLE: the runs are longer than the region");
    }
    if (inside) {
      fill_run(begin, run, pixels);
    }
    begin += run;
  }
  if (begin != total) {
    throw std::invalid_argument("COCO_RLE: the runs are shorter than the region");
  }
}

template<typename Bytes>
void expect_size(const Bytes & bytes, std::size_t expected, const char * encoding)
{
  if (bytes.size() != expected) {
    throw std::invalid_argument(
            std::string(encoding) + ": expected " + std::to_string(expected) + " bytes, got " +
            std::to_string(bytes.size()));
  }
}

template<typename Bytes>
void fill_from_bits(const Bytes & bytes, Pixels & pixels)
{
  expect_size(bytes, (pixels.data.size() + 7) / 8, "BITPACK");
  for (std::size_t i = 0; i < pixels.data.size(); ++i) {
    pixels.data[i] = (bytes[i / 8] >> (7 - i % 8)) & 1;
  }
}

template<typename Bytes>
void fill_from_bytes(const Bytes & bytes, Pixels & pixels)
{
  expect_size(bytes, pixels.data.size(), "MONO8");
  std::transform(
    bytes.begin(), bytes.end(), pixels.data.begin(), [](auto byte) {return byte != 0;});
}

}  // namespace detail

/// Return the pixels of the mask's region, [mask.height, mask.width].
///
/// Mask: stmask_ros::msg::InstanceMask, or any struct with those fields.
/// Throws std::invalid_argument if the encoding is unknown or NONE, the region has more than
/// MAXIMUM_PIXELS, or the data does not fill it exactly.
template<typename Mask>
Pixels decode_region(const Mask & mask)
{
  if (mask.encoding > static_cast<std::uint8_t>(MaskEncoding::MONO8)) {
    throw std::invalid_argument("unknown mask encoding " + std::to_string(mask.encoding));
  }
  Pixels pixels = detail::blank(mask.height, mask.width);
  if (pixels.data.empty()) {
    return pixels;
  }
  switch (static_cast<MaskEncoding>(mask.encoding)) {
    case MaskEncoding::COCO_RLE:
      detail::fill_from_runs(mask.data, pixels);
      return pixels;
    case MaskEncoding::BITPACK:
      detail::fill_from_bits(mask.data, pixels);
      return pixels;
    case MaskEncoding::MONO8:
      detail::fill_from_bytes(mask.data, pixels);
      return pixels;
    case MaskEncoding::NONE:
      break;
  }
  throw std::invalid_argument("the message carries no mask (encoding NONE)");
}

/// Return the mask in the whole image, [image_height, image_width] of TrackedInstanceArray.
///
/// Throws std::invalid_argument as decode_region() does, and if the region leaves the image.
template<typename Mask>
Pixels decode_full(const Mask & mask, std::uint32_t image_height, std::uint32_t image_width)
{
  const Pixels region = decode_region(mask);
  Pixels full = detail::blank(image_height, image_width);
  if (region.data.empty()) {
    return full;
  }
  const std::uint64_t bottom = std::uint64_t{mask.y_offset} + region.height;
  const std::uint64_t right = std::uint64_t{mask.x_offset} + region.width;
  if (bottom > image_height || right > image_width) {
    throw std::invalid_argument(
            "the region ends at row " + std::to_string(bottom) + ", column " +
            std::to_string(right) + ": outside the image of " + std::to_string(image_height) +
            "x" + std::to_string(image_width));
  }
  for (std::size_t row = 0; row < region.height; ++row) {
    const auto source = region.data.begin() + row * region.width;
    const auto target =
      full.data.begin() + (mask.y_offset + row) * full.width + mask.x_offset;
    std::copy(source, source + region.width, target);
  }
  return full;
}

}  // namespace stmask_ros

#endif  // STMASK_ROS__MASK_CODEC_HPP_
