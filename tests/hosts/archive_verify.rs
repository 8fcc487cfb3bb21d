//! Verification where something is missing: a manifest, an entry, the last night's session.

use std::fs;

use crate::clocks::shifted;
use crate::support::archive::{Archive, entry_of, must_be, sends};
use crate::support::{Lab, MIB, PATIENCE, Source};

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

#[test]
fn entry_that_lost_its_manifest_is_told_by_every_task_and_removed_by_rm_only() {
    let lab = Lab::up(1);
    let archive = Archive::new();
    let [old, good, lost] = [60, 61, 62].map(|seed| archive.fill(&lab, Source::new(seed, 1000), &[]));
    fs::remove_file(archive.path().join(&lost).join("manifest.json")).unwrap();
    let listing = archive.json("list", &[], 0);
    assert_eq!(listing["entries"][2]["state"], "damaged", "{listing}");
    // Cron drops what is on standard output, and mails the rest.
    let verified = archive.ask("verify", &[], 6);
    let (stdout, stderr) = (text(verified.stdout), text(verified.stderr));
    assert!(stderr.contains(&format!("{lost}: damaged: manifest.json is missing")), "{stderr}");
    assert!(stderr.contains("1 of 3 entries damaged; restore them from another copy"), "{stderr}");
    assert!(stdout.contains(&format!("{good}: verified, 1000 bytes")) && !stdout.contains(&lost), "{stdout}");
    // Also by its label, which only its name tells.
    archive.ask("verify", &["--label", "shop"], 6);
    let latest = archive.ask("cat", &["latest", "--label", "shop"], 0);
    must_be(&latest.stdout, Source::new(61, 1000));
    assert!(text(latest.stderr).contains(&lost));
    archive.ask("prune", &["--keep-last", "1"], 0);
    assert_eq!(archive.names(), [good.clone(), lost.clone()]);
    assert!(!archive.names().contains(&old));
    archive.ask("rm", &[&lost], 0);
    assert_eq!(archive.names(), [good]);
    archive.ask("verify", &[], 0);
}

#[test]
fn night_without_a_session_fails_the_verification_of_its_label() {
    let lab = Lab::up(1);
    let archive = Archive::new();
    assert!(text(archive.ask("verify", &[], 6).stderr).contains("nothing was verified"));
    let mut entries = Vec::new();
    for (label, shift) in [("shop", "-3d"), ("crm", "+0d")] {
        let mut receiver = shifted(archive.recv(lab.host(1)), shift).start();
        let mut sender = sends(&lab, &["-n", "1", "-l", label, "--name", "db1"], Source::new(63, 1000));
        sender.must_exit(&[0], PATIENCE);
        receiver.must_exit(&[0], PATIENCE);
        entries.push(entry_of(&receiver));
    }
    archive.ask("verify", &[], 0);
    let limit = ["--max-age", "26h"];
    let said = text(archive.ask("verify", &limit, 6).stderr);
    let words = format!("--max-age 26h of shop from db1 (the newest, {}, is 3 d old)", entries[0]);
    assert!(said.contains(&words) && !said.contains("crm"), "{said}");
    let found = archive.json("verify", &["--max-age", "26h", "--sample", "0"], 6);
    assert_eq!(
        (&found["stale"][0]["label"], &found["entries"][0]["pieces_read"]),
        (&"shop".into(), &0.into())
    );
    archive.ask("verify", &["--max-age", "26h", "--label", "crm"], 0);
    archive.ask("verify", &["--max-age", "26h", "--label", "shop"], 6);
    archive.ask("verify", &["--max-age", "96h"], 0);
    let said = text(archive.ask("verify", &["--label", "nosuch"], 6).stderr);
    assert!(said.contains("label nosuch") && said.contains("its labels are crm, shop"), "{said}");
    archive.ask("verify", &["--max-age", "26h", &entries[0]], 2);
}

#[test]
fn sample_of_an_entry_in_pieces_is_not_called_verified() {
    let lab = Lab::up(1);
    let archive = Archive::new();
    let name = archive.fill(&lab, Source::new(64, 3 * MIB), &["--piece-size", "1M"]);
    let shown = text(archive.ask("verify", &["--sample", "1%"], 0).stdout);
    assert_eq!(shown, format!("{name}: 1 of 3 pieces read (1 MiB), 2 not read\n"));
    let found = archive.json("verify", &["--sample", "1%"], 0);
    assert_eq!(found["entries"][0]["state"], "sampled", "{found}");
    assert_eq!(archive.json("verify", &["--sample", "100%"], 0)["entries"][0]["state"], "verified");
}

#[test]
fn slip_in_a_name_costs_nothing_and_is_answered() {
    let lab = Lab::up(1);
    let archive = Archive::new();
    let name = archive.fill(&lab, Source::new(65, 1000), &[]);
    let path = archive.path().join(&name);
    let slash = format!("{}/", path.display());
    must_be(&archive.ask("cat", &[&slash], 0).stdout, Source::new(65, 1000));
    assert!(text(archive.ask("cat", &["lates"], 2).stderr).contains("did you mean latest?"));
    let elsewhere = format!("/tmp/{name}");
    assert!(text(archive.ask("rm", &[&elsewhere], 2).stderr).contains(&elsewhere));
    let none = archive.ask("prune", &["--keep-last", "1", "--label", "shop9"], 0);
    assert!(text(none.stderr).contains("no complete entry with label shop9"));
    let would = text(archive.ask("rm", &["--dry-run", &slash], 0).stdout);
    assert_eq!(would, format!("{name}: would be removed\n"));
    assert!(path.exists());
    assert_eq!(archive.json("rm", &[&slash], 0)["dry_run"], false);
    assert!(!path.exists());
}
