//! `--then` and the real shell: what becomes of `{file}`.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Command;

use mcast::command::CommandLine;
use mcast::sink::then;

/// Output of a shell that runs the line for this path.
fn printed(line: &str, path: &OsStr) -> Vec<u8> {
    let CommandLine { program, arguments } = then::command(line, Path::new(path)).unwrap();
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

#[test]
fn any_path_reaches_a_command_as_one_argument_however_it_is_quoted() {
    let hostile = [
        &b"/srv/plain-1.dump"[..],
        b"/srv/my dumps/a  b",
        b"/srv/$(echo x)/`echo y`/a'b\"c\\d",
        b"/srv/*/\xff\xfe;true #\n",
    ];
    for path in hostile.map(OsStr::from_bytes) {
        for (line, before, after) in [
            ("printf %s {file}", "", ""),
            ("printf %s \"{file}\"", "", ""),
            ("printf %s \"a {file} b\"", "a ", " b"),
            ("printf %s a{file}b", "a", "b"),
            ("printf %s it\\'s{file}", "it's", ""),
            ("printf '%s' \"$(printf %s \"{file}\"; echo .)\"", "", "."),
            ("(printf %s {file})", "", ""),
            ("printf %s \"\\\"{file}\\\"\"", "\"", "\""),
            ("printf %s \"$1\"", "", ""),
        ] {
            let expected = [before.as_bytes(), path.as_bytes(), after.as_bytes()].concat();
            assert_eq!(printed(line, path), expected, "{line} for {}", path.display());
        }
    }
}
