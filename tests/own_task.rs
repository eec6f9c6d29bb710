//! The example of a user's own task works, and its learning goes on to the same bits after an interruption.

#[path = "../examples/own_task.rs"]
mod own_task;

#[test]
fn an_own_task_is_learned_resumed_compared_and_reported() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let [whole, resumed] = [false, true].map(|interrupt| {
        let folder = folders[usize::from(interrupt)].path();
        let table = own_task::learn_compare_report(folder, interrupt).unwrap();
        for row in ["lrpilot", "cosine", "constant"] {
            assert!(table.contains(row), "{table}");
        }
        assert!(std::fs::read_to_string(folder.join("report.html")).unwrap().contains("regression"));
        (table, std::fs::read(folder.join("policy.safetensors")).unwrap())
    });
    assert!(whole == resumed, "a policy, and its comparison, do not depend on interruptions");
}
