// Copyright 2026 stmask_ros developers
// SPDX-License-Identifier: Apache-2.0

// Decodes masks from standard input to standard output, for test/unit/test_masks.py.
//
// In, a mask: encoding x_offset y_offset width height image_height image_width bytes, as numbers
// in text on a line, then so many bytes. Out: the full image, a byte a pixel; or, if it is refused,
// a byte 255 and nothing more. In front of either its length, as text on a line.

#include <cstdint>
#include <iostream>
#include <stdexcept>
#include <string>
#include <vector>

#include "stmask_ros/mask_codec.hpp"

struct Mask
{
  unsigned encoding;
  std::uint32_t x_offset, y_offset, width, height;
  std::vector<std::uint8_t> data;
};

static void answer(const std::vector<std::uint8_t> & bytes)
{
  std::cout << bytes.size() << '\n';
  std::cout.write(reinterpret_cast<const char *>(bytes.data()), bytes.size());
}

int main()
{
  Mask mask;
  std::uint32_t image_height, image_width;
  std::size_t length;
  while (std::cin >> mask.encoding >> mask.x_offset >> mask.y_offset >> mask.width >>
    mask.height >> image_height >> image_width >> length)
  {
    std::cin.ignore(1);
    mask.data.resize(length);
    std::cin.read(reinterpret_cast<char *>(mask.data.data()), length);
    try {
      answer(stmask_ros::decode_full(mask, image_height, image_width).data);
    } catch (const std::invalid_argument & error) {
      std::cerr << error.what() << '\n';
      answer({255});
    }
  }
}
