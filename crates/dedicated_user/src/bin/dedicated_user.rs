//! Gives a service an account of its own, or removes it.

fn main() -> std::process::ExitCode {
    dedicated_user::dedicated_user()
}
