# shellcheck shell=bash
# Sourced by the generate.sh of a language, in that language's folder and with its arguments: the first one is the built library, by
# default that of `cargo build -p im-ffi`. UNIFFI_BINDGEN names the generator, by default that of `cargo build -p uniffi-bindgen`.
library=${1:-../../target/debug/libim_ffi.so}
generator=${UNIFFI_BINDGEN:-../../target/debug/uniffi-bindgen}
for file in "$library" "$generator"; do
    [ -e "$file" ] && continue
    echo "bindings/$(basename "$PWD"): $file is missing: run \`cargo build -p im-ffi -p uniffi-bindgen\`" >&2
    exit 1
done

# Generates code: generate LANGUAGE FOLDER OPTIONS..
generate() {
    "$generator" generate "$library" --language "$1" --no-format --out-dir "$2" "${@:3}"
}

# Copies the library to a path, without symbols for debuggers, which are many times its size.
copy_library() {
    strip -S -o "$1" "$library" 2> /dev/null || install -m 644 "$library" "$1"
}
