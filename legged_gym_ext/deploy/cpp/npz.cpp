#include "npz.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <fstream>

namespace {

// Zip and .npy are little-endian, and arrays are copied as they are.
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "this reader needs a little-endian machine"
#endif

// Layouts of .ZIP File Format Specification (APPNOTE.TXT) 6.3, sections 4.3.7, 4.3.12, 4.3.16 and 4.5.3.
constexpr std::uint32_t local_header = 0x04034b50, central_header = 0x02014b50, end_of_directory = 0x06054b50;
constexpr std::size_t local_size = 30, central_size = 46, end_size = 22, longest_comment = 65535;
constexpr std::uint16_t zip64_extra = 1;
constexpr std::uint32_t in_zip64_extra = 0xffffffff;  // a field whose value stands in the zip64 extra field
constexpr std::uint16_t is_encrypted = 1;

// A little-endian number. The caller has checked that its bytes are there.
template <typename Number>
Number number(const unsigned char* bytes) {
    Number value;
    std::memcpy(&value, bytes, sizeof value);
    return value;
}

std::uint32_t crc32(const unsigned char* data, std::size_t size) {
    static const auto table = [] {
        std::array<std::uint32_t, 256> entries{};
        for (std::uint32_t byte = 0; byte < 256; ++byte) {
            std::uint32_t value = byte;
            for (int bit = 0; bit < 8; ++bit) value = value & 1 ? 0xedb88320u ^ (value >> 1) : value >> 1;
            entries[byte] = value;
        }
        return entries;
    }();
    std::uint32_t crc = 0xffffffff;
    for (std::size_t i = 0; i < size; ++i) crc = table[(crc ^ data[i]) & 0xff] ^ (crc >> 8);
    return ~crc;
}

// What follows `'key':` in the header of a .npy file, the text of a Python dictionary; "" where there is no such key.
std::string header_value(const std::string& header, const std::string& key) {
    const auto found = header.find("'" + key + "':");
    const auto start = found == std::string::npos ? found : header.find_first_not_of(' ', found + key.size() + 3);
    return start == std::string::npos ? "" : header.substr(start);
}

// The numbers of a Python tuple, "(200, 64, 64), ..."; false where `text` is none or a number is too large.
bool parse_tuple(const std::string& text, std::vector<std::int64_t>& numbers) {
    const std::string digits = "0123456789";
    if (text.empty() || text[0] != '(') return false;
    for (std::size_t at = 1; at < text.size();) {
        if (text[at] == ')') return true;
        const std::size_t end = std::min(text.find_first_not_of(digits, at), text.size());
        if (end - at > 18) return false;
        if (end > at) numbers.push_back(std::stoll(text.substr(at, end - at)));
        if (end == at && text[at] != ',' && text[at] != ' ') return false;
        at = std::max(end, at + 1);
    }
    return false;
}

}  // namespace

std::string shape_text(const std::vector<std::int64_t>& shape) {
    if (shape.empty()) return "a single number";
    std::string text;
    for (const auto size : shape) text += (text.empty() ? "" : " x ") + std::to_string(size);
    return text;
}

Npz::Npz(const std::filesystem::path& file) : file_(file.string()) {
    std::error_code error;
    if (!std::filesystem::is_regular_file(file, error)) fail("no such file");
    std::ifstream stream(file, std::ios::binary);
    bytes_.assign(std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>());
    if (!stream) fail("cannot be read");
    read_directory();
}

void Npz::fail(const std::string& what) const { throw Failure(file_ + ": " + what); }

// The only way to the file's bytes: refuses what does not lie within.
Npz::Span Npz::part(std::uint64_t offset, std::uint64_t size) const {
    if (offset > bytes_.size() || size > bytes_.size() - offset) fail("damaged: a part of it lies beyond its end");
    return {bytes_.data() + offset, static_cast<std::size_t>(size)};
}

void Npz::read_directory() {
    if (bytes_.size() < end_size) fail("not a .npz file (too short)");
    std::size_t end = bytes_.size() - end_size;
    const std::size_t first = end - std::min(end, longest_comment);
    while (number<std::uint32_t>(bytes_.data() + end) != end_of_directory) {
        if (end-- == first) fail("not a .npz file, or cut off (no zip directory)");
    }
    const auto entries = number<std::uint16_t>(bytes_.data() + end + 10);
    std::uint64_t offset = number<std::uint32_t>(bytes_.data() + end + 16);
    if (offset == in_zip64_extra) fail("larger than this reader takes (4 GiB)");

    for (int i = 0; i < entries; ++i) {
        const auto entry = part(offset, central_size);
        if (number<std::uint32_t>(entry.data) != central_header) fail("damaged: wrong entry in its zip directory");
        const auto name_size = number<std::uint16_t>(entry.data + 28);
        const auto extra_size = number<std::uint16_t>(entry.data + 30);
        const auto name_part = part(offset + central_size, name_size);
        const auto extra = part(offset + central_size + name_size, extra_size);
        std::string name(name_part.data, name_part.data + name_part.size);
        if (number<std::uint16_t>(entry.data + 8) & is_encrypted) fail("'" + name + "' is encrypted");
        if (number<std::uint16_t>(entry.data + 10) != 0) fail("compressed: this reader takes what numpy.savez writes");

        // Size, size in the file, local header's offset: those that do not fit stand in the zip64 field, in this order.
        std::uint64_t values[] = {number<std::uint32_t>(entry.data + 24), number<std::uint32_t>(entry.data + 20),
                                  number<std::uint32_t>(entry.data + 42)};
        for (std::size_t at = 0; at + 4 <= extra.size;) {
            const auto kind = number<std::uint16_t>(extra.data + at), size = number<std::uint16_t>(extra.data + at + 2);
            if (size > extra.size - at - 4) fail("damaged: wrong extra field of '" + name + "'");
            std::size_t used = 0;
            for (auto& value : values) {
                if (kind != zip64_extra || value != in_zip64_extra) continue;
                if (used + 8 > size) fail("damaged: wrong extra field of '" + name + "'");
                value = number<std::uint64_t>(extra.data + at + 4 + used);
                used += 8;
            }
            at += 4 + std::size_t{size};
        }
        if (values[0] != values[1]) fail("damaged: two sizes of '" + name + "'");
        const auto file = stored(entry, values[2], values[0], name);
        if (name.size() > 4 && name.substr(name.size() - 4) == ".npy") members_[name.substr(0, name.size() - 4)] = file;
        offset += central_size + name_size + extra_size + number<std::uint16_t>(entry.data + 32);
    }
}

// The file of a directory's entry. The local header in front of it repeats the sizes, in fields that numpy leaves to a
// zip64 extra field; what the directory says is enough.
Npz::Span Npz::stored(Span entry, std::uint64_t header_offset, std::uint64_t size, const std::string& name) const {
    const auto header = part(header_offset, local_size);
    if (number<std::uint32_t>(header.data) != local_header) fail("damaged: wrong header of '" + name + "'");
    const auto name_size = number<std::uint16_t>(header.data + 26);
    const auto extra_size = number<std::uint16_t>(header.data + 28);
    const auto file = part(header_offset + local_size + name_size + extra_size, size);
    const auto checksum = number<std::uint32_t>(entry.data + 16);
    if (crc32(file.data, file.size) != checksum) fail("damaged: wrong checksum of '" + name + "'");
    return file;
}

// Layout: numpy.lib.format, versions 1 to 3.
Npz::Array Npz::array(const std::string& name) const {
    const auto found = members_.find(name);
    if (found == members_.end()) fail("has no array '" + name + "'");
    const auto& file = found->second;
    if (file.size < 12 || std::memcmp(file.data, "\x93NUMPY", 6) != 0) fail("'" + name + "' is not in the .npy format");
    const bool is_long = file.data[6] >= 2;
    const std::size_t start = is_long ? 12 : 10;
    const std::size_t size = is_long ? number<std::uint32_t>(file.data + 8) : number<std::uint16_t>(file.data + 8);
    if (size > file.size - start) fail("'" + name + "' is cut off");
    const std::string header(file.data + start, file.data + start + size);
    const Span values{file.data + start + size, file.size - start - size};

    Array array{"", {}, values};
    const auto type = header_value(header, "descr"), fortran = header_value(header, "fortran_order");
    const bool known = parse_tuple(header_value(header, "shape"), array.shape);
    if (!known || type.substr(0, 1) != "'") fail("'" + name + "' has a header that this reader does not know");
    array.type = type.substr(1, type.find('\'', 1) - 1);
    if (fortran.rfind("False", 0) != 0) fail("'" + name + "' is not in C's order");
    std::uint64_t bytes = array.type == "<f4" ? 4 : array.type == "<i8" ? 8 : array.type == "|b1" ? 1 : 0;
    if (bytes == 0) fail("'" + name + "' has numbers of type '" + array.type + "'; this reader knows <f4, <i8 and |b1");
    const auto wrong_size = "'" + name + "' is not of the size that its shape " + shape_text(array.shape) + " says";
    for (const auto axis : array.shape) {
        if (axis > 0 && bytes > file.size / static_cast<std::uint64_t>(axis)) fail(wrong_size);
        bytes *= static_cast<std::uint64_t>(axis);
    }
    if (bytes != values.size) fail(wrong_size);
    return array;
}

std::vector<std::int64_t> Npz::shape(const std::string& name) const { return array(name).shape; }

std::vector<float> Npz::floats(const std::string& name) const {
    const auto found = array(name);
    if (found.type != "<f4") fail("'" + name + "' has numbers of type '" + found.type + "', not <f4");
    std::vector<float> values(found.values.size / sizeof(float));
    if (!values.empty()) std::memcpy(values.data(), found.values.data, found.values.size);
    return values;
}

std::vector<std::int64_t> Npz::integers(const std::string& name) const {
    const auto found = array(name);
    if (found.type == "<f4") fail("'" + name + "' has numbers of type '<f4', not <i8 or |b1");
    if (found.type == "|b1") return {found.values.data, found.values.data + found.values.size};
    std::vector<std::int64_t> values(found.values.size / sizeof(std::int64_t));
    if (!values.empty()) std::memcpy(values.data(), found.values.data, found.values.size);
    return values;
}
