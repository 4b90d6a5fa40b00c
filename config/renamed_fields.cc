#include "config/renamed_fields.h"

#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include <nlohmann/json.hpp>

#include "config/run.pb.h"

namespace lextra {
namespace {

using ::google::protobuf::EnumDescriptor;
using ::google::protobuf::FieldDescriptor;
using ::google::protobuf::io::Tokenizer;
using Json = nlohmann::ordered_json;

struct RenamedField {
  const char* section;
  const char* old_name;
  const char* new_name;
};

constexpr RenamedField kFields[] = {
    {"model", "width", "hidden_size"},
    {"model", "head_size", "head_dim"},
    {"model", "ffn_width", "ffn_hidden_size"},
    {"model", "vocab_multiple", "pad_vocab_to_multiple_of"},
    {"model", "tied_output", "tie_word_embeddings"},
    {"model", "position", "position_encoding"},
    {"data", "global_batch", "global_batch_size"},
    {"data", "micro_batch", "micro_batch_size"},
    {"optimizer", "clip_norm", "max_grad_norm"},
    {"optimizer", "max_skipped_in_a_row", "max_consecutive_skips"},
    {"optimizer", "skip_z_score", "spike_z_threshold"},
    {"parallel", "sequence", "context"},
    {"parallel", "sequence_regions", "sequence_parallel"},
    {"parallel", "compare_replicas_every", "replica_check_interval_steps"},
    {"checkpoint", "every_steps", "interval_steps"},
    {"checkpoint", "every_seconds", "interval_seconds"},
    {"evaluation", "extensions", "rope_scaling"},
    {"evaluation", "extend_xpos_exponent", "scale_xpos_exponent"},
    {"evaluation", "every_steps", "validation_interval_steps"},
    {"logging", "every_steps", "interval_steps"},
};

struct RenamedValue {
  const char* type;
  const char* old_name;
  const char* new_name;
};

constexpr RenamedValue kValues[] = {
    {"lextra.Mask", "SINKS", "WINDOW_AND_SINKS"},
    {"lextra.RopeScaling.Type", "UNCHANGED", "NONE"},
    {"lextra.RopeScaling.Type", "INTERPOLATION", "LINEAR"},
};

// The enum that the values of section.field have; null if they have none.
const EnumDescriptor* EnumOf(const std::string& section,
                             const std::string& field) {
  const FieldDescriptor* of_run =
      RunConfig::descriptor()->FindFieldByName(section);
  if (of_run == nullptr) return nullptr;
  const FieldDescriptor* found = of_run->message_type()->FindFieldByName(field);
  return found != nullptr && found->type() == FieldDescriptor::TYPE_ENUM
             ? found->enum_type()
             : nullptr;
}

std::string ValueNow(const std::string& section, const std::string& field,
                     const std::string& value) {
  const EnumDescriptor* type = EnumOf(section, field);
  return type == nullptr ? value : NewValueName(*type, value).value_or(value);
}

class CountedErrors : public google::protobuf::io::ErrorCollector {
 public:
  void AddError(int, int, const std::string&) override { ++count_; }
  int count() const { return count_; }

 private:
  int count_ = 0;
};

void RenameValues(const std::string& section, const std::string& field,
                  Json* value) {
  if (value->is_string()) {
    *value = ValueNow(section, field, value->get<std::string>());
  }
  if (!value->is_array()) return;
  for (Json& element : *value) RenameValues(section, field, &element);
}

}  // namespace

std::optional<std::string> NewFieldName(const std::string& section,
                                        const std::string& old_name) {
  for (const RenamedField& renamed : kFields) {
    if (section == renamed.section && old_name == renamed.old_name) {
      return renamed.new_name;
    }
  }
  return std::nullopt;
}

std::optional<std::string> NewValueName(const EnumDescriptor& type,
                                        const std::string& old_name) {
  for (const RenamedValue& renamed : kValues) {
    if (type.full_name() == renamed.type && old_name == renamed.old_name) {
      return renamed.new_name;
    }
  }
  return std::nullopt;
}

std::string TextWithNewNames(const std::string& text) {
  google::protobuf::io::ArrayInputStream input(text.data(),
                                               static_cast<int>(text.size()));
  CountedErrors errors;
  Tokenizer tokenizer(&input, &errors);
  tokenizer.set_comment_style(Tokenizer::SH_COMMENT_STYLE);
  std::string renamed;
  std::string section;
  std::string field;
  int depth = 0;
  bool in_list = false;
  bool is_value = false;
  while (tokenizer.Next()) {
    const Tokenizer::Token& token = tokenizer.current();
    std::string word = token.text;
    if (word == "{" || word == "<") ++depth;
    if (word == "}" || word == ">") --depth;
    if (word == "[" || word == "]") in_list = word == "[";
    if (token.type == Tokenizer::TYPE_IDENTIFIER && depth == 0) section = word;
    if (token.type == Tokenizer::TYPE_IDENTIFIER && depth == 1) {
      if (is_value) {
        word = ValueNow(section, field, word);
      } else {
        field = word = NewFieldName(section, word).value_or(word);
      }
    }
    is_value = in_list || word == ":";
    renamed += token.line > tokenizer.previous().line ? "\n" : " ";
    renamed += word;
  }
  return errors.count() == 0 ? renamed + "\n" : text;
}

std::string JsonWithNewNames(const std::string& json) {
  const Json stored =
      Json::parse(json, /*callback=*/nullptr, /*allow_exceptions=*/false);
  if (!stored.is_object()) return json;
  Json renamed = Json::object();
  for (const auto& [section, fields] : stored.items()) {
    if (!fields.is_object()) {
      renamed[section] = fields;
      continue;
    }
    for (const auto& [old_name, value] : fields.items()) {
      const std::string field =
          NewFieldName(section, old_name).value_or(old_name);
      Json& of_field = renamed[section][field] = value;
      RenameValues(section, field, &of_field);
    }
  }
  return renamed.dump();
}

}  // namespace lextra
