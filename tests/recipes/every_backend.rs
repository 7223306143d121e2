//! Runs tests that are written once on every backend there is.

/// `on_every_backend! { first_test, second_test }`: each a function of `&impl Subject`, which panics when its promise is
/// broken. Makes `model::first_test`, `shared_memory::first_test` and so on, each with a store of its own.
#[macro_export]
macro_rules! on_every_backend {
    ($($test:ident),* $(,)?) => {
        mod model {
            $(#[test]
            fn $test() {
                slotguard::conformance::guarded(stringify!($test), || super::$test(&slotguard::backend::Model::new()));
            })*
        }

        mod shared_memory {
            $(#[test]
            fn $test() {
                let segment = $crate::in_segment::InSegment::new();
                slotguard::conformance::guarded(stringify!($test), move || super::$test(&segment));
            })*
        }
    };
}
