#include "psfmatch/kernel/SpatialFunction.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <stdexcept>
#include <string>

#include "kernel/SpatialPolynomials.h"

namespace psfmatch {

namespace {

constexpr char separator = '+';

// The functions of two forms; 1, the first of both, once.
class JoinedForms : public SpatialForm {
public:
    JoinedForms(SpatialFunction const& first, SpatialFunction const& second)
        : SpatialForm(termsOf(first.form(), second.form())),
          first_(first),
          second_(second),
          nFirst_(axisSize(first.form(), Axis::x)) {}

    [[nodiscard]] std::string name() const override { return first_.form().name() + separator + second_.form().name(); }

    // Of each, how many there are before they come.
    [[nodiscard]] std::vector<double> numbers() const override {
        std::vector<double> all;
        for (SpatialFunction const& part : {first_, second_}) {
            bool const isNested = part.form().name().find(separator) != std::string::npos;
            std::vector<double> const own = part.form().numbers();
            if (!isNested) {
                all.push_back(static_cast<double>(own.size()));
            }
            all.insert(all.end(), own.begin(), own.end());
        }
        return all;
    }

    [[nodiscard]] std::string told() const override { return first_.form().told() + " and " + second_.form().told(); }

    [[nodiscard]] Eigen::VectorXd axisValues(Axis axis, double position, double within) const override {
        Eigen::VectorXd const one = first_.form().axisValues(axis, position, within);
        Eigen::VectorXd const other = second_.form().axisValues(axis, position, within);
        Eigen::VectorXd all(one.size() + other.size() - 1);
        all << one, other.tail(other.size() - 1);
        return all;
    }

    [[nodiscard]] int axisDegree(Index function) const override {
        return function < nFirst_ ? first_.form().axisDegree(function)
                                  : second_.form().axisDegree(function - nFirst_ + 1);
    }
    [[nodiscard]] int axisDegree() const override { return std::max(first_.order(), second_.order()); }

    [[nodiscard]] std::vector<double> breaks(Axis axis) const override {
        std::vector<double> const one = first_.form().breaks(axis);
        std::vector<double> const other = second_.form().breaks(axis);
        std::vector<double> all;
        std::set_union(one.begin(), one.end(), other.begin(), other.end(), std::back_inserter(all));
        return all;
    }

    [[nodiscard]] Frame frame() const override { return first_.frame(); }

    [[nodiscard]] int roughness(Index term) const override {
        return term < first_.size() ? first_.form().roughness(term)
                                    : second_.form().roughness(term - first_.size() + 1);
    }

    [[nodiscard]] SpatialFunction const& first() const { return first_; }
    [[nodiscard]] SpatialFunction const& second() const { return second_; }

private:
    static Index axisSize(SpatialForm const& form, Axis axis) {
        Index most = 0;
        for (Term const& term : form.terms()) {
            most = std::max(most, axis == Axis::x ? term.x : term.y);
        }
        return most + 1;
    }

    static std::vector<Term> termsOf(SpatialForm const& first, SpatialForm const& second) {
        std::vector<Term> terms = first.terms();
        Index const nx = axisSize(first, Axis::x) - 1;
        Index const ny = axisSize(first, Axis::y) - 1;
        for (auto term = second.terms().begin() + 1; term != second.terms().end(); ++term) {
            terms.push_back({term->x > 0 ? term->x + nx : 0, term->y > 0 ? term->y + ny : 0});
        }
        return terms;
    }

    SpatialFunction first_;
    SpatialFunction second_;
    Index nFirst_;
};

int wholeNumber(double number) {
    if (!(number >= 0.0 && number < 1000.0 && number == std::floor(number))) {
        throw std::invalid_argument("spatial functions have " + std::to_string(number) +
                                    " where a degree or number of knots below 1000 must be");
    }
    return static_cast<int>(number);
}

SpatialFunction makeOne(std::string const& name, std::vector<double> const& numbers) {
    bool const isSpline = name == "bspline";
    if (!isSpline && name != detail::nameOf(SpatialModel::chebyshev1) &&
        name != detail::nameOf(SpatialModel::polynomial)) {
        throw std::invalid_argument("spatial functions of the kind '" + name + "' are unknown");
    }
    std::size_t const least = isSpline ? 6 : 5;
    if (numbers.size() < least || (!isSpline && numbers.size() > least)) {
        throw std::invalid_argument("spatial functions of the kind '" + name + "' are not made of " +
                                    std::to_string(numbers.size()) + " numbers");
    }
    int const order = wholeNumber(numbers[0]);
    Frame const frame{numbers[1], numbers[2], numbers[3], numbers[4]};
    if (!isSpline) {
        bool const isChebyshev = name == detail::nameOf(SpatialModel::chebyshev1);
        return {isChebyshev ? SpatialModel::chebyshev1 : SpatialModel::polynomial, order, frame};
    }
    auto const nx = static_cast<std::size_t>(wholeNumber(numbers[5]));
    if (numbers.size() < least + nx) {
        throw std::invalid_argument("B-splines of " + std::to_string(nx) + " knots along x are made of more than " +
                                    std::to_string(numbers.size()) + " numbers");
    }
    auto const knots = numbers.begin() + static_cast<std::ptrdiff_t>(least);
    auto const yKnots = knots + static_cast<std::ptrdiff_t>(nx);
    return makeBSplines(order, {knots, yKnots}, {yKnots, numbers.end()}, frame);
}

}  // namespace

SpatialFunction::SpatialFunction(SpatialModel model, int order, Frame const& frame)
    : form_(std::make_shared<detail::SpatialPolynomials>(model, order, frame)) {}

SpatialFunction SpatialFunction::ofOrder(int order) const {
    auto const* const polynomials = dynamic_cast<detail::SpatialPolynomials const*>(form_.get());
    return {polynomials == nullptr ? SpatialModel::chebyshev1 : polynomials->model(), order, frame()};
}

std::optional<std::vector<Index>> SpatialFunction::placesIn(SpatialFunction const& whole) const {
    if (size() == 1) {
        return std::vector<Index>{0};  // 1 is the first of all
    }
    std::vector<Index> places = form_->placesIn(whole.form());
    if (places.empty() && *this == whole) {
        places.resize(static_cast<std::size_t>(size()));
        std::iota(places.begin(), places.end(), 0);
    }
    auto const* const parts = dynamic_cast<JoinedForms const*>(&whole.form());
    if (!places.empty() || parts == nullptr) {
        return places.empty() ? std::nullopt : std::optional(places);
    }
    if (auto const inFirst = placesIn(parts->first())) {
        return inFirst;
    }
    auto inSecond = placesIn(parts->second());
    for (std::size_t s = 1; inSecond && s < inSecond->size(); ++s) {
        (*inSecond)[s] += parts->first().size() - 1;
    }
    if (auto const* const own = dynamic_cast<JoinedForms const*>(form_.get()); !inSecond && own != nullptr) {
        // Its parts may lie anywhere.
        auto first = own->first().placesIn(whole);
        auto const second = own->second().placesIn(whole);
        if (first && second) {
            first->insert(first->end(), second->begin() + 1, second->end());
            return first;
        }
    }
    return inSecond;
}

bool SpatialFunction::operator==(SpatialFunction const& other) const {
    return form_ == other.form_ || (form_->name() == other.form_->name() && form_->numbers() == other.form_->numbers());
}

SpatialFunction joined(SpatialFunction const& first, SpatialFunction const& second) {
    if (second.placesIn(first)) {
        return first;
    }
    if (first.placesIn(second)) {
        return second;
    }
    return SpatialFunction(std::make_shared<JoinedForms>(first, second));
}

SpatialFunction makeSpatialFunction(std::string const& name, std::vector<double> const& numbers) {
    if (name.find(separator) == std::string::npos) {
        return makeOne(name, numbers);
    }
    std::optional<SpatialFunction> whole;
    auto next = numbers.begin();
    for (std::size_t begin = 0; begin <= name.size();) {
        std::size_t const end = std::min(name.find(separator, begin), name.size());
        std::ptrdiff_t const count = next == numbers.end() ? 0 : wholeNumber(*next++);
        if (count > numbers.end() - next) {
            throw std::invalid_argument("numbers of the spatial functions '" + name + "' are missing");
        }
        SpatialFunction const part = makeOne(name.substr(begin, end - begin), {next, next + count});
        whole = whole ? SpatialFunction(std::make_shared<JoinedForms>(*whole, part)) : part;
        next += count;
        begin = end + 1;
    }
    return *whole;
}

}  // namespace psfmatch
