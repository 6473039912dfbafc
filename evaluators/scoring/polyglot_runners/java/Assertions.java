package org.assertj.core.api;

import java.lang.reflect.Array;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.function.Predicate;

/** The assertions of AssertJ that the exercises use, by name and meaning. */
public class Assertions {
    /** An action that may throw. */
    public interface ThrowingCallable {
        void call() throws Throwable;
    }

    /** How far apart two numbers may be. */
    public record Offset(double value) {}

    /** What an assertion is about, and the text for when it fails. */
    public static final class Assertion {
        private final Object actual;
        private String told;

        private Assertion(Object actual) {
            this.actual = actual;
        }

        private Assertion require(boolean holds, String what, Object wanted) {
            if (!holds) {
                throw new AssertionError(told != null ? told : show(actual) + " " + what + " " + show(wanted));
            }
            return this;
        }

        public Assertion as(String text, Object... values) {
            return this;
        }

        public Assertion describedAs(String text, Object... values) {
            return this;
        }

        public Assertion withFailMessage(String text, Object... values) {
            told = values.length == 0 ? text : String.format(text, values);
            return this;
        }

        public Assertion overridingErrorMessage(String text, Object... values) {
            return withFailMessage(text, values);
        }

        public Assertion isEqualTo(Object wanted) {
            return require(same(actual, wanted), "is not", wanted);
        }

        public Assertion isEqualTo(double wanted, Offset offset) {
            return isCloseTo(wanted, offset);
        }

        public Assertion isNotEqualTo(Object wanted) {
            return require(!same(actual, wanted), "is", wanted);
        }

        public Assertion isSameAs(Object wanted) {
            return require(actual == wanted, "is not the same as", wanted);
        }

        public Assertion isNotSameAs(Object wanted) {
            return require(actual != wanted, "is the same as", wanted);
        }

        public Assertion isTrue() {
            return require(Boolean.TRUE.equals(actual), "is not", true);
        }

        public Assertion isFalse() {
            return require(Boolean.FALSE.equals(actual), "is not", false);
        }

        public Assertion isNull() {
            return require(actual == null, "is not", null);
        }

        public Assertion isNotNull() {
            return require(actual != null, "is", null);
        }

        public Assertion isZero() {
            return isEqualTo(0);
        }

        public Assertion isOne() {
            return isEqualTo(1);
        }

        public Assertion isPositive() {
            return require(number(actual) > 0, "is not above", 0);
        }

        public Assertion isNegative() {
            return require(number(actual) < 0, "is not below", 0);
        }

        public Assertion isCloseTo(double wanted, Offset offset) {
            return require(Math.abs(number(actual) - wanted) <= offset.value(), "is not close to", wanted);
        }

        public Assertion isGreaterThan(double wanted) {
            return require(number(actual) > wanted, "is not above", wanted);
        }

        public Assertion isGreaterThanOrEqualTo(double wanted) {
            return require(number(actual) >= wanted, "is below", wanted);
        }

        public Assertion isLessThan(double wanted) {
            return require(number(actual) < wanted, "is not below", wanted);
        }

        public Assertion isLessThanOrEqualTo(double wanted) {
            return require(number(actual) <= wanted, "is above", wanted);
        }

        public Assertion isBetween(double low, double high) {
            return require(number(actual) >= low && number(actual) <= high, "is not between", low + " and " + high);
        }

        public Assertion isInstanceOf(Class<?> type) {
            return require(type.isInstance(actual), "is no", type);
        }

        public Assertion isExactlyInstanceOf(Class<?> type) {
            return require(actual != null && actual.getClass() == type, "is no", type);
        }

        public Assertion isIn(Object... wanted) {
            List<Object> all = wanted.length == 1 && isMany(wanted[0]) ? many(wanted[0]) : Arrays.asList(wanted);
            return require(all.stream().anyMatch(one -> same(actual, one)), "is not in", all);
        }

        public Assertion isEmpty() {
            return require(size() == 0, "is not", "empty");
        }

        public Assertion isNotEmpty() {
            return require(size() != 0, "is", "empty");
        }

        public Assertion isNotBlank() {
            return require(actual != null && !actual.toString().isBlank(), "is", "blank");
        }

        public Assertion isPresent() {
            return require(((Optional<?>) actual).isPresent(), "is not", "present");
        }

        public Assertion isNotPresent() {
            return require(((Optional<?>) actual).isEmpty(), "is", "present");
        }

        public Assertion hasValue(Object wanted) {
            return require(same(((Optional<?>) actual).orElse(null), wanted), "has not", wanted);
        }

        public Assertion hasSize(int wanted) {
            return require(size() == wanted, "has not the size", wanted);
        }

        public Assertion hasSameSizeAs(Object other) {
            return require(size() == new Assertion(other).size(), "has not the size of", other);
        }

        public Assertion hasDimensions(int rows, int columns) {
            List<Object> all = many(actual);
            boolean wide = all.stream().allMatch(row -> many(row).size() == columns);
            return require(all.size() == rows && wide, "has not the dimensions", rows + " x " + columns);
        }

        public Assertion contains(Object... wanted) {
            if (actual instanceof CharSequence text) {
                return require(Arrays.stream(wanted).allMatch(part -> text.toString().contains(part.toString())),
                        "does not contain", wanted);
            }
            if (actual instanceof Optional<?> optional) {
                return require(optional.isPresent() && same(optional.get(), wanted[0]), "does not contain", wanted);
            }
            List<Object> all = many(actual);
            return require(Arrays.stream(wanted).allMatch(one -> has(all, one)), "does not contain", wanted);
        }

        public Assertion doesNotContain(Object... wanted) {
            if (actual instanceof CharSequence text) {
                return require(Arrays.stream(wanted).noneMatch(part -> text.toString().contains(part.toString())),
                        "contains", wanted);
            }
            List<Object> all = many(actual);
            return require(Arrays.stream(wanted).noneMatch(one -> has(all, one)), "contains", wanted);
        }

        public Assertion startsWith(Object wanted) {
            return require(actual.toString().startsWith(wanted.toString()), "does not start with", wanted);
        }

        public Assertion endsWith(Object wanted) {
            return require(actual.toString().endsWith(wanted.toString()), "does not end with", wanted);
        }

        public Assertion matches(String pattern) {
            return require(actual.toString().matches(pattern), "does not match", pattern);
        }

        @SuppressWarnings("unchecked")
        public <T> Assertion matches(Predicate<T> predicate) {
            return require(predicate.test((T) actual), "does not match", "the predicate");
        }

        @SafeVarargs
        public final <T> Assertion containsExactly(T... wanted) {
            List<Object> right = spread(wanted);
            List<Object> left = many(actual);
            boolean holds = left.size() == right.size();
            for (int i = 0; holds && i < left.size(); i++) holds = same(left.get(i), right.get(i));
            return require(holds, "is not exactly", right);
        }

        public Assertion containsExactlyElementsOf(Iterable<?> wanted) {
            return containsExactly(many(wanted).toArray());
        }

        @SafeVarargs
        public final <T> Assertion containsExactlyInAnyOrder(T... wanted) {
            List<Object> left = many(actual);
            List<Object> right = new ArrayList<>(spread(wanted));
            boolean holds = left.size() == right.size();
            for (Object one : left) holds = holds && take(right, one);
            return require(holds, "is not in any order", wanted);
        }

        public Assertion containsExactlyInAnyOrderElementsOf(Iterable<?> wanted) {
            return containsExactlyInAnyOrder(many(wanted).toArray());
        }

        @SafeVarargs
        public final <T> Assertion containsOnly(T... wanted) {
            List<Object> left = many(actual);
            List<Object> right = spread(wanted);
            boolean holds = left.stream().allMatch(one -> has(right, one))
                    && right.stream().allMatch(one -> has(left, one));
            return require(holds, "has not only", right);
        }

        public Assertion containsKey(Object key) {
            return require(((Map<?, ?>) actual).containsKey(key), "has no key", key);
        }

        public Assertion containsEntry(Object key, Object value) {
            return require(same(((Map<?, ?>) actual).get(key), value), "has no entry", key);
        }

        public Assertion hasMessage(String wanted) {
            return require(Objects.equals(((Throwable) actual).getMessage(), wanted), "has not the message", wanted);
        }

        public Assertion hasMessageContaining(String wanted) {
            String message = ((Throwable) actual).getMessage();
            return require(message != null && message.contains(wanted), "has no message with", wanted);
        }

        public Assertion withMessage(String wanted) {
            return hasMessage(wanted);
        }

        public Assertion withMessageContaining(String wanted) {
            return hasMessageContaining(wanted);
        }

        private int size() {
            if (actual instanceof CharSequence text) return text.length();
            if (actual instanceof Map<?, ?> map) return map.size();
            if (actual instanceof Optional<?> optional) return optional.isPresent() ? 1 : 0;
            return many(actual).size();
        }
    }

    /** What an exception is expected of. */
    public static final class Thrown {
        private final Class<? extends Throwable> type;

        private Thrown(Class<? extends Throwable> type) {
            this.type = type;
        }

        public Thrown as(String text, Object... values) {
            return this;
        }

        public Assertion isThrownBy(ThrowingCallable action) {
            return new Assertion(thrown(action)).isInstanceOf(type);
        }
    }

    private static Throwable thrown(ThrowingCallable action) {
        try {
            action.call();
        } catch (Throwable thrown) {
            return thrown;
        }
        throw new AssertionError("nothing was thrown");
    }

    private static String show(Object value) {
        return isMany(value) ? many(value).toString() : String.valueOf(value);
    }

    private static double number(Object value) {
        return ((Number) value).doubleValue();
    }

    private static boolean isMany(Object value) {
        return value instanceof Iterable || value != null && value.getClass().isArray();
    }

    private static List<Object> many(Object value) {
        List<Object> all = new ArrayList<>();
        if (value instanceof Map<?, ?> map) {
            all.addAll(map.entrySet());
        } else if (value instanceof Iterable<?> iterable) {
            iterable.forEach(all::add);
        } else if (value != null && value.getClass().isArray()) {
            for (int i = 0; i < Array.getLength(value); i++) all.add(Array.get(value, i));
        } else {
            throw new AssertionError(value + " holds no elements");
        }
        return all;
    }

    /** Variable arguments, or the elements of the one array given in their place. */
    private static List<Object> spread(Object[] wanted) {
        boolean primitive = wanted.length == 1 && wanted[0] != null && wanted[0].getClass().isArray()
                && wanted[0].getClass().getComponentType().isPrimitive();
        return primitive ? many(wanted[0]) : Arrays.asList(wanted);
    }

    private static boolean has(Collection<Object> all, Object wanted) {
        return all.stream().anyMatch(one -> same(one, wanted));
    }

    private static boolean take(List<Object> all, Object wanted) {
        for (int i = 0; i < all.size(); i++) {
            if (same(all.get(i), wanted)) {
                all.remove(i);
                return true;
            }
        }
        return false;
    }

    private static boolean whole(Object value) {
        return value instanceof Integer || value instanceof Long || value instanceof Short || value instanceof Byte;
    }

    /** Equal; whole numbers by value, as the compiler widens them for AssertJ's typed assertions. */
    private static boolean same(Object left, Object right) {
        if (whole(left) && whole(right)) return ((Number) left).longValue() == ((Number) right).longValue();
        if (left instanceof Double && whole(right)) return number(left) == number(right);
        if (left instanceof Character && whole(right)) return (Character) left == ((Number) right).longValue();
        return Objects.deepEquals(left, right);
    }

    public static Assertion assertThat(Object actual) {
        return new Assertion(actual);
    }

    public static Thrown assertThatExceptionOfType(Class<? extends Throwable> type) {
        return new Thrown(type);
    }

    public static Thrown assertThatIllegalArgumentException() {
        return new Thrown(IllegalArgumentException.class);
    }

    public static Thrown assertThatIllegalStateException() {
        return new Thrown(IllegalStateException.class);
    }

    public static Thrown assertThatNullPointerException() {
        return new Thrown(NullPointerException.class);
    }

    public static Assertion assertThatThrownBy(ThrowingCallable action) {
        return new Assertion(thrown(action));
    }

    public static void assertThatNoException(ThrowingCallable action) throws Throwable {
        action.call();
    }

    public static void fail(String text) {
        throw new AssertionError(text);
    }

    public static Offset offset(double value) {
        return new Offset(value);
    }

    public static Offset within(double value) {
        return new Offset(value);
    }
}
