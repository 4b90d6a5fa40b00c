# project_library(NAME SOURCES a.cc ... PROTOS a.proto ... DEPENDS lib ... [TORCH]
#                 [AUTOGRAD])
#   a static library lextra_NAME (alias lextra::NAME), with a shared precompiled
#   header. TORCH: uses LibTorch; left out where LEXTRA_WITH_TORCH is OFF. AUTOGRAD: has
#   autograd functions of its own.
# project_test(NAME SOURCES a.cc ... DEPENDS lib ... [RANKS 1 2 4] [LABELS x] [CORES n]
#              [SHARDS n] [COST n] [TORCH])
#   one GoogleTest program; with RANKS it runs once under a real mpirun for each
#   number of ranks, and is labeled mpi; otherwise it is labeled unit. CORES is
#   how many it keeps busy, two for several ranks, otherwise one: ctest -jN runs
#   no more at a time than fit into N. With SHARDS its tests are dealt to that
#   many runs, which may run at the same time. Tests of the highest COST, in
#   seconds, start first. TORCH and RANKS need LEXTRA_WITH_TORCH.

add_library(lextra_flags INTERFACE)
target_compile_options(lextra_flags INTERFACE
  $<$<NOT:$<COMPILE_LANGUAGE:CUDA>>:-Wall -Wextra -Werror -Wno-psabi>
  "$<$<COMPILE_LANGUAGE:CUDA>:SHELL:-Werror all-warnings -Xcompiler -Wall,-Wextra,-Werror>")
target_compile_definitions(lextra_flags INTERFACE OMPI_SKIP_MPICXX=1)
target_include_directories(lextra_flags INTERFACE ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR})
target_link_libraries(lextra_flags INTERFACE Threads::Threads)

if(LEXTRA_WITH_TORCH)
  # at::parallel_for is silently serial in a file compiled without -fopenmp.
  target_link_libraries(lextra_flags INTERFACE OpenMP::OpenMP_CXX)
endif()

# A precompiled header for many targets: _precompile(NAME LINK lib ...
# HEADERS <x> ... [OPTIONS -y ...]).
function(_precompile name)
  cmake_parse_arguments(ARG "" "" "LINK;HEADERS;OPTIONS" ${ARGN})
  file(WRITE ${CMAKE_BINARY_DIR}/${name}.cc "")
  add_library(${name} STATIC ${CMAKE_BINARY_DIR}/${name}.cc)
  target_link_libraries(${name} PUBLIC lextra_flags ${ARG_LINK})
  target_compile_options(${name} PRIVATE ${ARG_OPTIONS})
  target_precompile_headers(${name} PRIVATE
    ${ARG_HEADERS} <functional> <memory> <string> <vector>)
endfunction()

# Tests spend their time in the libraries, and half of a build is theirs: they
# are not optimized themselves.
set(_test_options -O0)
# What most files include, and no more: every file that uses a precompiled header
# instantiates all templates that wait in it (about 1.2 s for custom_function.h).
set(_absl_headers <absl/status/statusor.h> <absl/strings/str_cat.h> <absl/strings/str_format.h>)
set(_torch_headers <ATen/ATen.h> ${_absl_headers})
set(_test_headers <gmock/gmock.h> <gtest/gtest.h>)
_precompile(lextra_precompiled HEADERS ${_absl_headers} <nlohmann/json.hpp>)
_precompile(lextra_test_precompiled
  LINK GTest::gmock HEADERS ${_absl_headers} ${_test_headers} OPTIONS ${_test_options})
if(LEXTRA_WITH_TORCH)
  _precompile(lextra_torch_precompiled
    LINK LibTorch::cpu HEADERS ${_torch_headers})
  _precompile(lextra_autograd_precompiled
    LINK LibTorch::cpu HEADERS ${_torch_headers} <torch/csrc/autograd/custom_function.h>)
  _precompile(lextra_torch_test_precompiled
    LINK LibTorch::cpu GTest::gmock HEADERS ${_torch_headers} ${_test_headers}
    OPTIONS ${_test_options})
endif()

function(project_library name)
  cmake_parse_arguments(ARG "TORCH;AUTOGRAD" "" "SOURCES;PROTOS;DEPENDS" ${ARGN})
  if(ARG_TORCH AND NOT LEXTRA_WITH_TORCH)
    return()
  endif()
  add_library(lextra_${name} STATIC ${ARG_SOURCES})
  add_library(lextra::${name} ALIAS lextra_${name})
  target_link_libraries(lextra_${name} PUBLIC lextra_flags ${ARG_DEPENDS})
  if(ARG_TORCH)
    target_link_libraries(lextra_${name} PUBLIC LibTorch::cpu)
  endif()
  set(headers lextra_precompiled)
  if(ARG_AUTOGRAD)
    set(headers lextra_autograd_precompiled)
  elseif(ARG_TORCH)
    set(headers lextra_torch_precompiled)
  endif()
  target_precompile_headers(lextra_${name} REUSE_FROM ${headers})
  if(ARG_PROTOS)
    file(RELATIVE_PATH folder ${CMAKE_SOURCE_DIR} ${CMAKE_CURRENT_SOURCE_DIR})
    foreach(proto ${ARG_PROTOS})
      get_filename_component(stem ${proto} NAME_WE)
      set(out ${CMAKE_BINARY_DIR}/${folder}/${stem}.pb)
      add_custom_command(OUTPUT ${out}.cc ${out}.h
        COMMAND protobuf::protoc --cpp_out=${CMAKE_BINARY_DIR} -I ${CMAKE_SOURCE_DIR}
                ${CMAKE_CURRENT_SOURCE_DIR}/${proto}
        DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${proto} VERBATIM)
      target_sources(lextra_${name} PRIVATE ${out}.cc ${out}.h)
      # Generated code is not ours to warn about.
      set_source_files_properties(${out}.cc PROPERTIES
        COMPILE_OPTIONS "-w" SKIP_PRECOMPILE_HEADERS ON)
    endforeach()
    target_link_libraries(lextra_${name} PUBLIC protobuf::libprotobuf)
  endif()
endfunction()

# Links a test in a quarter of the time.
find_program(LEXTRA_GOLD ld.gold)

# What every test finds in its environment.
set(project_test_environment
  LEXTRA_SOURCE_DIR=${CMAKE_SOURCE_DIR} LEXTRA_BUILD_DIR=${CMAKE_BINARY_DIR} GTEST_COLOR=no
  OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1)

function(project_test name)
  cmake_parse_arguments(ARG "TORCH" "CORES;SHARDS;COST" "SOURCES;DEPENDS;RANKS;LABELS" ${ARGN})
  if((ARG_TORCH OR ARG_RANKS) AND NOT LEXTRA_WITH_TORCH)
    return()
  endif()
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE lextra_flags ${ARG_DEPENDS})
  target_compile_options(${name} PRIVATE ${_test_options})
  if(LEXTRA_GOLD)
    target_link_options(${name} PRIVATE -fuse-ld=gold)
  endif()
  if(ARG_TORCH)
    target_link_libraries(${name} PRIVATE LibTorch::cpu)
    target_precompile_headers(${name} REUSE_FROM lextra_torch_test_precompiled)
  else()
    target_precompile_headers(${name} REUSE_FROM lextra_test_precompiled)
  endif()
  if(ARG_RANKS)
    target_link_libraries(${name} PRIVATE lextra::testing_mpi_main)
    foreach(ranks ${ARG_RANKS})
      set(cores 1)
      if(ranks GREATER 1)
        set(cores 2)
      endif()
      add_test(NAME ${name}_np${ranks} COMMAND ${MPIEXEC_EXECUTABLE} -np ${ranks}
        --oversubscribe --bind-to none --mca btl self,vader
        --mca mpi_yield_when_idle 1
        --mca oob_tcp_if_include lo --mca btl_vader_single_copy_mechanism none
        $<TARGET_FILE:${name}>)
      set_tests_properties(${name}_np${ranks} PROPERTIES LABELS "mpi;${ARG_LABELS}"
        ENVIRONMENT "${project_test_environment}" TIMEOUT 300 PROCESSORS ${cores})
    endforeach()
  else()
    target_link_libraries(${name} PRIVATE GTest::gtest GTest::gmock GTest::gtest_main)
    if(NOT ARG_LABELS)
      set(ARG_LABELS unit)
    endif()
    if(NOT ARG_CORES)
      set(ARG_CORES 1)
    endif()
    if(NOT ARG_COST)
      set(ARG_COST 0)
    endif()
    if(NOT ARG_SHARDS)
      set(ARG_SHARDS 1)
    endif()
    foreach(shard RANGE 1 ${ARG_SHARDS})
      set(run ${name})
      set(environment ${project_test_environment})
      if(ARG_SHARDS GREATER 1)
        set(run ${name}_${shard})
        math(EXPR index "${shard} - 1")
        list(APPEND environment
          GTEST_TOTAL_SHARDS=${ARG_SHARDS} GTEST_SHARD_INDEX=${index})
      endif()
      add_test(NAME ${run} COMMAND ${name})
      set_tests_properties(${run} PROPERTIES LABELS "${ARG_LABELS}" COST ${ARG_COST}
        ENVIRONMENT "${environment}" TIMEOUT 600 PROCESSORS ${ARG_CORES})
    endforeach()
  endif()
endfunction()
