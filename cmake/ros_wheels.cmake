# Copyright 2026 stmask_ros developers
# SPDX-License-Identifier: Apache-2.0

# Only for ROS 2 from PyPI wheels: passed as CMAKE_PROJECT_INCLUDE. A stock ROS 2 never reads it.
# Both repairs run when the project has been read to its end, with all packages found.

# The wheels export the include folders of the machine that built them (/opt/python/...). CMake
# refuses an imported target whose include folder does not exist.
function(stmask_drop_missing_include_folders)
  get_property(targets DIRECTORY PROPERTY IMPORTED_TARGETS)
  foreach(target IN LISTS targets)
    get_target_property(folders ${target} INTERFACE_INCLUDE_DIRECTORIES)
    if(folders)
      set(present)
      foreach(folder IN LISTS folders)
        if(NOT IS_ABSOLUTE "${folder}" OR EXISTS "${folder}")
          list(APPEND present "${folder}")
        endif()
      endforeach()
      set_target_properties(${target} PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${present}")
    endif()
  endforeach()
endfunction()

# The messages' Python library exports NumPy's include folder, which is inside the source tree if
# the virtual environment is. CMake refuses to export that; nothing outside the build needs it.
function(stmask_keep_environment_out_of_exports)
  get_property(targets DIRECTORY PROPERTY BUILDSYSTEM_TARGETS)
  foreach(target IN LISTS targets)
    get_target_property(folders ${target} INTERFACE_INCLUDE_DIRECTORIES)
    if(folders)
      string(REPLACE "." "\\." source "${CMAKE_SOURCE_DIR}")
      list(TRANSFORM folders REPLACE "^(${source}/.*/site-packages/.*)$" "$<BUILD_INTERFACE:\\1>")
      set_target_properties(${target} PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${folders}")
    endif()
  endforeach()
endfunction()

cmake_language(DEFER CALL stmask_drop_missing_include_folders)
cmake_language(DEFER CALL stmask_keep_environment_out_of_exports)
