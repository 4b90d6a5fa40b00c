# LibTorch from the PyTorch 2.11 wheel, unpacked in site-packages layout by
# deploy/setup.sh. Input: LEXTRA_LIBTORCH_DIR (the folder that holds torch/).
# Targets: LibTorch::c10, LibTorch::cpu, and LibTorch::cuda where the wheel has
# CUDA. The wheel's own TorchConfig.cmake is not used: it demands the legacy
# FindCUDA, sets global flags and ships protobuf headers of another version.
set(_lextra_cache "$ENV{LEXTRA_CACHE}")
if(NOT _lextra_cache)
  set(_lextra_cache "$ENV{HOME}/.cache/lextra")
endif()
set(LEXTRA_LIBTORCH_DIR "${_lextra_cache}/libtorch-2.11.0"
    CACHE PATH "Folder that holds torch/ of the PyTorch 2.11 wheel")
set(LibTorch_ROOT_DIR ${LEXTRA_LIBTORCH_DIR}/torch)

find_library(LibTorch_CPU_LIBRARY torch_cpu PATHS ${LibTorch_ROOT_DIR}/lib NO_DEFAULT_PATH)
find_library(LibTorch_C10_LIBRARY c10 PATHS ${LibTorch_ROOT_DIR}/lib NO_DEFAULT_PATH)

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(LibTorch
  REQUIRED_VARS LibTorch_CPU_LIBRARY LibTorch_C10_LIBRARY
  REASON_FAILURE_MESSAGE "run deploy/setup.sh, or set LEXTRA_LIBTORCH_DIR")

if(LibTorch_FOUND AND NOT TARGET LibTorch::cpu)
  add_library(LibTorch::c10 SHARED IMPORTED)
  set_target_properties(LibTorch::c10 PROPERTIES IMPORTED_LOCATION ${LibTorch_C10_LIBRARY})
  add_library(LibTorch::cpu SHARED IMPORTED)
  # -idirafter: the wheel carries google/protobuf headers of another version.
  set_target_properties(LibTorch::cpu PROPERTIES
    IMPORTED_LOCATION ${LibTorch_CPU_LIBRARY}
    INTERFACE_LINK_LIBRARIES LibTorch::c10
    INTERFACE_COMPILE_OPTIONS
      "SHELL:-idirafter ${LibTorch_ROOT_DIR}/include;SHELL:-idirafter ${LibTorch_ROOT_DIR}/include/torch/csrc/api/include")
  if(EXISTS ${LibTorch_ROOT_DIR}/lib/libtorch_cuda.so)
    add_library(LibTorch::cuda INTERFACE IMPORTED)
    set_target_properties(LibTorch::cuda PROPERTIES
      INTERFACE_LINK_LIBRARIES
        "LibTorch::cpu;-Wl,--no-as-needed;${LibTorch_ROOT_DIR}/lib/libtorch_cuda.so;${LibTorch_ROOT_DIR}/lib/libc10_cuda.so;-Wl,--as-needed")
  endif()
endif()
