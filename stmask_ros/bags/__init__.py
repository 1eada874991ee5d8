# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0
"""Rosbag2 files, read and written without a ROS installation."""

from stmask_ros.bags.files import (
    COMPRESSED_IMAGE,
    IMAGE,
    INSTANCES,
    BagError,
    BagMessage,
    BagWriter,
    ImageTopic,
    bag_topics,
    choose_image_topic,
    image_topic,
    instances_topic,
    message_types,
    offered_qos,
    read_bag,
)

__all__ = [
    'COMPRESSED_IMAGE', 'IMAGE', 'INSTANCES', 'BagError', 'BagMessage', 'BagWriter', 'ImageTopic',
    'bag_topics', 'choose_image_topic', 'image_topic', 'instances_topic', 'message_types',
    'offered_qos', 'read_bag',
]
