include(ExternalProject)

# Build the ament package in the directory `name` with this one and install it into the same prefix.
#
# An external project rather than add_subdirectory: each ament package needs its own cache scope (package
# name, export lists). It is built with `all` on every build (make decides what is stale, so a changed
# message is enough) and installed in this package's install step, so that DESTDIR and symlink install hold.
function(add_nested_package name)
  set(settings "")
  foreach(variable
      AMENT_CMAKE_SYMLINK_INSTALL BUILD_TESTING CMAKE_BUILD_TYPE CMAKE_C_COMPILER CMAKE_CXX_COMPILER CMAKE_INSTALL_PREFIX
      CMAKE_PREFIX_PATH CMAKE_TOOLCHAIN_FILE Python3_EXECUTABLE Python3_FIND_VIRTUALENV)
    if(DEFINED ${variable})
      list(APPEND settings "-D${variable}:STRING=${${variable}}")
    endif()
  endforeach()

  set(binary_dir "${CMAKE_CURRENT_BINARY_DIR}/${name}")
  ExternalProject_Add(${name}_nested
    PREFIX "${CMAKE_CURRENT_BINARY_DIR}/${name}_nested"
    SOURCE_DIR "${CMAKE_CURRENT_SOURCE_DIR}/${name}"
    BINARY_DIR "${binary_dir}"
    CMAKE_CACHE_ARGS ${settings}
    BUILD_ALWAYS TRUE
    INSTALL_COMMAND ""
  )
  install(CODE "
    execute_process(COMMAND \"${CMAKE_COMMAND}\" --install \"${binary_dir}\" RESULT_VARIABLE result)
    if(NOT result EQUAL 0)
      message(FATAL_ERROR \"installing the nested package ${name} failed\")
    endif()
  ")
endfunction()
