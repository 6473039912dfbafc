// The part of Catch's interface that the C++ exercises use, in one small header.
// The runner's main is in catch_main.cpp; it writes the report.
#pragma once
#include <cmath>
#include <exception>
#include <functional>
#include <iostream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace Catch {

struct Failure {
    std::string text;
};
struct Case {
    std::string name;
    std::function<void()> body;
};
struct Section {
    std::string name;
    bool done;
};
std::vector<Case>& cases();
bool& check_failed();
std::string& first_failure();
bool enter_section(const char* name);
void leave_section(const char* name);

struct Registered {
    Registered(const char* name, std::function<void()> body) { cases().push_back({name, std::move(body)}); }
};
struct InSection {
    const char* name;
    bool entered;
    explicit InSection(const char* n) : name(n), entered(enter_section(n)) {}
    ~InSection() {
        if (entered && std::uncaught_exceptions() == 0) leave_section(name);
    }
    explicit operator bool() const { return entered; }
};
inline std::string where(const char* text, const char* file, int line) {
    std::ostringstream out;
    out << file << ":" << line << ": " << text;
    return out.str();
}
[[noreturn]] inline void fail(const char* text, const char* file, int line) {
    throw Failure{where(text, file, line)};
}
inline void note(const char* text, const char* file, int line) {
    if (!check_failed()) first_failure() = where(text, file, line);
    check_failed() = true;
}

class Approx {
public:
    explicit Approx(double value) : value_(value) {}
    Approx& epsilon(double epsilon) { epsilon_ = epsilon; return *this; }
    Approx& margin(double margin) { margin_ = margin; return *this; }
    bool matches(double other) const {
        double room = epsilon_ * std::fabs(value_);
        return std::fabs(other - value_) <= (room > margin_ ? room : margin_);
    }
    template <class T> friend bool operator==(const T& left, const Approx& right) {
        return right.matches(static_cast<double>(left));
    }
    template <class T> friend bool operator==(const Approx& left, const T& right) {
        return left.matches(static_cast<double>(right));
    }

private:
    double value_;
    double epsilon_ = 1.1920928955078125e-07 * 100;
    double margin_ = 0.0;
};

template <class T> class MatcherBase {
public:
    virtual ~MatcherBase() = default;
    virtual bool match(T const& value) const = 0;
    virtual std::string describe() const { return ""; }
};

namespace Matchers {
struct WithinAbsMatcher {
    double target, margin;
    bool match(double value) const { return std::fabs(value - target) <= margin; }
};
inline WithinAbsMatcher WithinAbs(double target, double margin) { return {target, margin}; }
template <class T> struct PredicateMatcher {
    std::function<bool(const T&)> holds;
    bool match(const T& value) const { return holds(value); }
};
template <class T> PredicateMatcher<T> Predicate(std::function<bool(const T&)> holds, const std::string& = "") {
    return {std::move(holds)};
}
struct EqualsMatcher {
    std::string target;
    bool match(const std::string& value) const { return value == target; }
};
inline EqualsMatcher Equals(const std::string& target) { return {target}; }
struct MessageMatcher {
    std::string target;
    bool match(const std::exception& error) const { return error.what() == target; }
};
inline MessageMatcher Message(const std::string& target) { return {target}; }
struct ContainsMatcher {
    std::string target;
    bool match(const std::string& value) const { return value.find(target) != std::string::npos; }
};
inline ContainsMatcher Contains(const std::string& target) { return {target}; }
}  // namespace Matchers
}  // namespace Catch

#define CATCH_JOIN2(a, b) a##b
#define CATCH_JOIN(a, b) CATCH_JOIN2(a, b)
#define CATCH_CASE(id, name)                                                    \
    static void CATCH_JOIN(case_body_, id)();                                   \
    static ::Catch::Registered CATCH_JOIN(case_, id)(name, CATCH_JOIN(case_body_, id)); \
    static void CATCH_JOIN(case_body_, id)()
#define CATCH_FIRST(first, ...) first
#define TEST_CASE(...) CATCH_CASE(__COUNTER__, CATCH_FIRST(__VA_ARGS__, ""))
#define SECTION(name) if (::Catch::InSection CATCH_JOIN(section_, __LINE__){name})
#define CATCH_TRUE(...) static_cast<bool>(__VA_ARGS__)
#define REQUIRE(...) \
    do { if (!(CATCH_TRUE(__VA_ARGS__))) ::Catch::fail(#__VA_ARGS__, __FILE__, __LINE__); } while (false)
#define REQUIRE_FALSE(...) \
    do { if (CATCH_TRUE(__VA_ARGS__)) ::Catch::fail("not " #__VA_ARGS__, __FILE__, __LINE__); } while (false)
#define CHECK(...) \
    do { if (!(CATCH_TRUE(__VA_ARGS__))) ::Catch::note(#__VA_ARGS__, __FILE__, __LINE__); } while (false)
#define CHECK_FALSE(...) \
    do { if (CATCH_TRUE(__VA_ARGS__)) ::Catch::note("not " #__VA_ARGS__, __FILE__, __LINE__); } while (false)
#define REQUIRE_THAT(value, matcher) \
    do { if (!((matcher).match(value))) ::Catch::fail(#value " " #matcher, __FILE__, __LINE__); } while (false)
#define CHECK_THAT(value, matcher) \
    do { if (!((matcher).match(value))) ::Catch::note(#value " " #matcher, __FILE__, __LINE__); } while (false)
#define CATCH_THROWN(statement, type, missing)                  \
    bool catch_thrown = false;                                  \
    try { static_cast<void>(statement); }                       \
    catch (const type&) { catch_thrown = true; }                \
    if (!catch_thrown) ::Catch::fail(missing, __FILE__, __LINE__);
#define REQUIRE_THROWS_AS(statement, ...) \
    do { CATCH_THROWN(statement, __VA_ARGS__, #statement " did not throw " #__VA_ARGS__) } while (false)
#define REQUIRE_THROWS(statement)                                                       \
    do {                                                                                \
        bool catch_thrown = false;                                                      \
        try { static_cast<void>(statement); } catch (...) { catch_thrown = true; }      \
        if (!catch_thrown) ::Catch::fail(#statement " did not throw", __FILE__, __LINE__); \
    } while (false)
#define REQUIRE_THROWS_MATCHES(statement, type, matcher)                                \
    do {                                                                                \
        bool catch_thrown = false;                                                      \
        try { static_cast<void>(statement); }                                           \
        catch (const type& error) { catch_thrown = (matcher).match(error); }            \
        if (!catch_thrown) ::Catch::fail(#statement " did not throw " #type, __FILE__, __LINE__); \
    } while (false)
#define CHECK_THROWS_AS(statement, ...) REQUIRE_THROWS_AS(statement, __VA_ARGS__)
#define REQUIRE_NOTHROW(...) do { static_cast<void>(__VA_ARGS__); } while (false)
#define CHECK_NOTHROW(...) REQUIRE_NOTHROW(__VA_ARGS__)
#define INFO(...) do { std::ostringstream catch_text; catch_text << __VA_ARGS__; } while (false)
#define CAPTURE(...) do { } while (false)
#define FAIL(...) ::Catch::fail("FAIL", __FILE__, __LINE__)
#define SUCCEED(...) do { } while (false)
#define CATCH_REGISTER_ENUM(...)
using Catch::Approx;
