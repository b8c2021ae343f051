#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| xxnet_tests::fuzz::cluster(data));
