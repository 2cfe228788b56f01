// read_npz ARRAYS FILE...: what the C++ example's reader finds in files, each on its own: for each of the ARRAYS, such as
// "f:depth,i:frame" (floats, integers), its shape and its values, or what is wrong with the file.
#include <iostream>
#include <sstream>

#include "npz.hpp"

int main(int count, char** arguments) {
    for (int i = 2; i < count; ++i) {
        std::ostringstream text;
        text.precision(9);  // as many digits as tell all floats apart
        try {
            const Npz file(arguments[i]);
            std::istringstream arrays(arguments[1]);
            for (std::string array; std::getline(arrays, array, ',');) {
                const auto name = array.substr(2);
                for (const auto size : file.shape(name)) text << size << ' ';
                text << ':';
                if (array[0] == 'f') {
                    for (const auto value : file.floats(name)) text << ' ' << value;
                } else {
                    for (const auto value : file.integers(name)) text << ' ' << value;
                }
                text << '\n';
            }
        } catch (const Failure& failure) {
            text.str("");
            text << "failure: " << failure.what() << '\n';
        }
        std::cout << text.str();
    }
}
