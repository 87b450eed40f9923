//! Tells which accounts run rootless containers, and what each of them uses. Changes nothing.

fn main() -> std::process::ExitCode {
    dedicated_user::info()
}
