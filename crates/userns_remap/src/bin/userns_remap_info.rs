//! Tells what Docker's user namespaces would mean for a host. Changes nothing.

fn main() -> std::process::ExitCode {
    userns_remap::info()
}
