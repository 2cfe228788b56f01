// Arrays of a .npz file that numpy.savez wrote: an uncompressed zip of .npy files.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

// What is wrong with a file or a model that was given, in one line.
struct Failure : std::runtime_error {
    using std::runtime_error::runtime_error;
};

// "200 x 64 x 64"; "a single number" where there are no axes.
std::string shape_text(const std::vector<std::int64_t>& shape);

// The file is checked when it is opened (bounds, checksums), an array when it is read. All errors are Failures.
class Npz {
public:
    explicit Npz(const std::filesystem::path& file);

    // The sizes of an array's axes.
    std::vector<std::int64_t> shape(const std::string& name) const;
    // An array of float32, the last axis running fastest.
    std::vector<float> floats(const std::string& name) const;
    // An array of int64 or of bool (0 or 1).
    std::vector<std::int64_t> integers(const std::string& name) const;

private:
    // A part of the file's bytes.
    struct Span {
        const unsigned char* data;
        std::size_t size;
    };
    struct Array {
        std::string type;  // numpy's: "<f4"
        std::vector<std::int64_t> shape;
        Span values;
    };

    [[noreturn]] void fail(const std::string& what) const;
    Span part(std::uint64_t offset, std::uint64_t size) const;
    void read_directory();
    Span stored(Span entry, std::uint64_t header_offset, std::uint64_t size, const std::string& name) const;
    Array array(const std::string& name) const;

    std::string file_;
    std::vector<unsigned char> bytes_;
    std::map<std::string, Span> members_;  // array's name -> its .npy file
};
