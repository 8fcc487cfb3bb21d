//! Whether this processor can run the codec as it was built.

/// The processor lacks instructions that the codec was built with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "this processor has no AVX2, which this build uses; build with RUST_REED_SOLOMON_ERASURE_ARCH=x86-64-v2 in the \
     environment"
)]
pub struct UnsupportedProcessor;

/// Asks the processor whether it has what the codec needs. To be asked once, at launch: without, the first repair
/// symbol ends the process by SIGILL.
///
/// On x86-64 `reed-solomon-erasure` compiles its arithmetic for Haswell (2013) and looks no further at run time, unless
/// the builder chose another processor through `RUST_REED_SOLOMON_ERASURE_ARCH`; then it is the builder's word.
///
/// # Errors
/// The processor is older than the build.
pub fn check_processor() -> Result<(), UnsupportedProcessor> {
    #[cfg(target_arch = "x86_64")]
    {
        let built_for_haswell = option_env!("RUST_REED_SOLOMON_ERASURE_ARCH").is_none();
        let haswell = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("bmi2");
        if built_for_haswell && !haswell {
            return Err(UnsupportedProcessor);
        }
    }
    Ok(())
}
