"""Persistent instance masks for robots: STMask as a ROS 2 node."""

from pkgutil import extend_path

# The generated messages (stmask_ros.msg) are installed elsewhere than these sources when tests
# run from a checkout; both folders make up this package.
__path__ = extend_path(__path__, __name__)
