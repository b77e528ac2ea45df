//! `fintan cite`

use fintan_config::Subject;

use crate::args::Cite;
use crate::failure::Failure;
use crate::given::configuration;
use crate::voice::answer;

/// Prints the publications behind a configuration or a run.
pub(super) fn cite(args: &Cite) -> Result<(), Failure> {
    for citation in Subject::load(&configuration(&args.path)?, &[])?.citations() {
        for line in citation.bibtex().lines() {
            answer!("{line}");
        }
    }
    Ok(())
}
