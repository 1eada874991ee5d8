// Copyright 2026 stmask_ros developers
// SPDX-License-Identifier: Apache-2.0

// Takes one TrackedInstanceArray from a topic and writes each mask in the whole image, a byte a
// pixel, to standard output. For test/ros/test_real_tools.py. Usage: subscriber TOPIC
//
// With rcl, which the wheels of ROS 2 have, where a package would use rclcpp.

#include <chrono>
#include <cstdio>
#include <iostream>
#include <stdexcept>
#include <thread>

#include "rcl/rcl.h"
#include "rosidl_typesupport_cpp/message_type_support.hpp"
#include "stmask_ros/mask_codec.hpp"
#include "stmask_ros/msg/tracked_instance_array.hpp"

using Message = stmask_ros::msg::TrackedInstanceArray;

static void expect_ok(rcl_ret_t answer, const char * what)
{
  if (answer != RCL_RET_OK) {
    throw std::runtime_error(what);
  }
}

static Message take(rcl_subscription_t & subscription)
{
  Message message;
  while (true) {
    const auto answer = rcl_take(&subscription, &message, nullptr, nullptr);
    if (answer == RCL_RET_OK) {
      return message;
    }
    if (answer != RCL_RET_SUBSCRIPTION_TAKE_FAILED) {
      throw std::runtime_error("rcl_take");
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

int main(int, char ** arguments)
{
  const auto allocator = rcl_get_default_allocator();
  auto options = rcl_get_zero_initialized_init_options();
  expect_ok(rcl_init_options_init(&options, allocator), "rcl_init_options_init");
  auto context = rcl_get_zero_initialized_context();
  expect_ok(rcl_init(0, nullptr, &options, &context), "rcl_init");
  auto node = rcl_get_zero_initialized_node();
  const auto node_options = rcl_node_get_default_options();
  expect_ok(rcl_node_init(&node, "cpp_subscriber", "", &context, &node_options), "rcl_node_init");
  auto subscription = rcl_get_zero_initialized_subscription();
  const auto subscription_options = rcl_subscription_get_default_options();
  expect_ok(
    rcl_subscription_init(
      &subscription, &node, rosidl_typesupport_cpp::get_message_type_support_handle<Message>(),
      arguments[1], &subscription_options), "rcl_subscription_init");

  const auto message = take(subscription);
  for (const auto & instance : message.instances) {
    const auto pixels = stmask_ros::decode_full(
      instance.mask, message.image_height, message.image_width);
    std::cout.write(
      reinterpret_cast<const char *>(pixels.data.data()),
      static_cast<std::streamsize>(pixels.data.size()));
  }

  expect_ok(rcl_subscription_fini(&subscription, &node), "rcl_subscription_fini");
  expect_ok(rcl_node_fini(&node), "rcl_node_fini");
  expect_ok(rcl_shutdown(&context), "rcl_shutdown");
  return 0;
}
