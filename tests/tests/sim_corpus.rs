//! Plans that once failed, or that bring about what chance rarely does: each runs well, and as its file says (ledger X2).

use std::fs;
use std::path::Path;
use xxnet_sim::plan::Plan;
use xxnet_sim::runner::run_plan;

#[test]
fn x2_every_plan_of_the_corpus_runs_well() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sim/corpus");
    let mut files: Vec<_> = fs::read_dir(folder)
        .expect("the corpus is there")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    assert!(!files.is_empty(), "the corpus is empty");
    let mut wrong = Vec::new();
    for path in files {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let plan = Plan::parse(&fs::read_to_string(&path).expect("it is read"))
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(!plan.why.is_empty(), "{name} does not say why it is kept");
        let outcome = run_plan(&plan, false);
        if let Err(failure) = outcome.result {
            wrong.push(format!("{name}: {failure}"));
        }
        // A fault that does not come about any more says that the plan has lost its point.
        let missing: Vec<_> = plan
            .faults
            .iter()
            .filter(|fault| {
                !outcome.plan.faults.iter().any(|came| came.place == fault.place && came.fault == fault.fault)
            })
            .collect();
        if !missing.is_empty() {
            wrong.push(format!("{name}: these faults do not come about: {missing:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
