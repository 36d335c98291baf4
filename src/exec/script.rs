//! A step's commands as one shell script.

/// The script for `sh -e -c` that runs `commands` in order, in one shell, so that `cd` and
/// variables last; the first that fails ends it with its status.
///
/// Both outputs go into one pipe from the first line on: two would each keep their order, but
/// nobody could tell any more in which order they were written.
pub(super) fn script(commands: &[String]) -> String {
    // `a && b` does not trip `sh -e` when `a` fails, except as the last command. A command of a
    // list must not go wrong unseen because another one follows it.
    const CHECK: &str = "\n\ncase $? in 0) ;; *) exit $? ;; esac\n";
    format!("exec 2>&1; {}\n", commands.join(CHECK))
}

/// The same, for a shell whose environment is not the step's: the variables are set first, and the
/// folder `out` is made if it is not there.
pub(super) fn standalone(variables: &[(String, String)], out: &str, commands: &[String]) -> String {
    let mut text = String::new();
    for (name, value) in variables {
        text.push_str("export ");
        text.push_str(name);
        text.push('=');
        text.push_str(&quoted(value));
        text.push('\n');
    }
    let out = quoted(out);
    let script = script(commands);
    format!("{text}[ -d {out} ] || mkdir -p {out}\n{script}")
}

/// As one word of a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    fn run(commands: &[&str]) -> (Option<i32>, String) {
        let commands: Vec<String> = commands.iter().map(ToString::to_string).collect();
        let script = super::script(&commands);
        let output = Command::new("sh").args(["-e", "-c", &script]).output().unwrap();
        assert!(output.stderr.is_empty(), "all output is in one pipe");
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    }

    #[test]
    fn commands_run_in_order_in_one_shell_until_one_fails() {
        assert_eq!(run(&["echo a", "echo b >&2", "echo c"]), (Some(0), "a\nb\nc\n".into()));
        assert_eq!(run(&["cd /", "pwd"]), (Some(0), "/\n".into()));
        assert_eq!(run(&["echo a", "exit 3", "echo c"]), (Some(3), "a\n".into()));
        assert_eq!(run(&["echo a\nfalse\necho b"]), (Some(1), "a\n".into()));
        assert_eq!(
            run(&["# a remark", "cat <<E\nx\nE", "echo y # end"]),
            (Some(0), "x\ny\n".into())
        );
    }

    #[test]
    fn a_failed_list_is_seen_also_when_a_command_follows() {
        assert_eq!(run(&["false && echo never", "echo after"]), (Some(1), String::new()));
        assert_eq!(run(&["(exit 7) && true", "echo after"]), (Some(7), String::new()));
    }

    #[test]
    fn variables_are_what_they_were_whatever_is_in_them() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("it's/out");
        let out = out.to_str().unwrap();
        let value = "it's \"$HOME\" `x`\n\\ end ";
        let variables =
            [("PLAIN".to_owned(), value.to_owned()), ("OUT".to_owned(), out.to_owned())];
        let commands = ["printf %s \"$PLAIN\" > \"$OUT/x\"".to_owned()];
        let script = super::standalone(&variables, out, &commands);
        assert!(Command::new("sh").args(["-e", "-c", &script]).status().unwrap().success());
        assert_eq!(std::fs::read_to_string(format!("{out}/x")).unwrap(), value);
    }
}
