"""Where pictures come from: devices, videos, folders, bags, the built-in clip. No ROS."""
