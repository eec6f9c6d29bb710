//! Command lines that are shown to people: complete, and fit to be pasted into a shell.

use super::GlobalArgs;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// The flag that goes on with a run.
const RESUME: &str = "--resume";

/// A command line of this program. Its text, from [`fmt::Display`], is quoted for a POSIX shell.
///
/// ```
/// use lrpilot::cli::command::CommandLine;
/// let command = CommandLine::new("learn").argument("my task.toml").option("--set", "task.name=it's");
/// assert_eq!(command.to_string(), r"lrpilot learn 'my task.toml' --set 'task.name=it'\''s'");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandLine {
    words: Vec<OsString>,
}

impl CommandLine {
    /// The command line of this process, as typed.
    pub fn typed() -> Self {
        CommandLine { words: std::env::args_os().skip(1).collect() }
    }

    /// The command line with these words behind the program's name.
    pub fn of_words(words: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        CommandLine { words: words.into_iter().map(Into::into).collect() }
    }

    /// The words behind the program's name.
    pub fn words(&self) -> &[OsString] {
        &self.words
    }

    /// The words as text; `None` if one is not UTF-8.
    pub fn texts(&self) -> Option<Vec<String>> {
        self.words.iter().map(|word| word.to_str().map(str::to_owned)).collect()
    }

    /// A subcommand without arguments.
    pub fn new(subcommand: &str) -> Self {
        CommandLine { words: vec![subcommand.into()] }
    }

    /// Add a positional argument that is a path or a name.
    pub fn argument(mut self, value: impl Into<OsString>) -> Self {
        let value = value.into();
        self.words.push(if is_dashed(&value) { Path::new(".").join(value).into() } else { value });
        self
    }

    /// Add an option with its value.
    pub fn option(mut self, flag: &str, value: impl Into<OsString>) -> Self {
        let value = value.into();
        if is_dashed(&value) {
            let mut joined = OsString::from(format!("{flag}="));
            joined.push(value);
            self.words.push(joined);
        } else {
            self.words.extend([flag.into(), value]);
        }
        self
    }

    /// Add an option once for each value.
    pub fn options<V: Into<OsString>>(self, flag: &str, values: impl IntoIterator<Item = V>) -> Self {
        values.into_iter().fold(self, |command, value| command.option(flag, value))
    }

    /// Add the options of every subcommand that decide what a command finds and how it works.
    pub fn shared(self, global: &GlobalArgs) -> Self {
        self.options("--data-dir", &global.data_dir).options("--threads", global.threads.map(|n| n.to_string()))
    }

    /// The same command, going on with the run in its folder.
    pub fn resuming(mut self) -> Self {
        let options = self.options_end();
        if !self.words[..options].iter().any(|word| word == RESUME) {
            self.words.insert(options, RESUME.into());
        }
        self
    }

    /// The same command as it was before it went on with anything.
    pub fn starting(mut self) -> Self {
        let options = self.options_end();
        let mut at = 0..;
        self.words.retain(|word| at.next().is_some_and(|i| i >= options) || word != RESUME);
        self
    }

    /// The command without an option and its value.
    ///
    /// ```
    /// use lrpilot::cli::command::CommandLine;
    /// let command = CommandLine::of_words(["compare", "p", "--index=2", "--of", "3", "--", "--of"]);
    /// assert_eq!(command.without("--of").without("--index").to_string(), "lrpilot compare p -- --of");
    /// ```
    pub fn without(mut self, flag: &str) -> Self {
        if let Some(at) = self.place(flag) {
            self.words.drain(at);
        }
        self
    }

    /// The command with another value of an option, in the place of the one it has, else behind the other options.
    ///
    /// ```
    /// use lrpilot::cli::command::CommandLine;
    /// let command = CommandLine::of_words(["compare", "--out=here", "--resume"]);
    /// assert_eq!(command.with("--out", "there").to_string(), "lrpilot compare --out there --resume");
    /// ```
    pub fn with(mut self, flag: &str, value: impl Into<OsString>) -> Self {
        let at = self.place(flag).unwrap_or(self.options_end()..self.options_end());
        self.words.splice(at, CommandLine::of_words([] as [&str; 0]).option(flag, value).words);
        self
    }

    /// The value of an option.
    pub fn value(&self, flag: &str) -> Option<&OsStr> {
        let words = &self.words[self.place(flag)?];
        match words {
            [_, value] => Some(value),
            _ => words[0].to_str()?.split_once('=').map(|(_, value)| OsStr::new(value)),
        }
    }

    /// The text of the command before an option, and what stands behind the option's value, which may be nothing.
    ///
    /// ```
    /// use lrpilot::cli::command::CommandLine;
    /// let command = CommandLine::of_words(["compare", "my policy", "--out", "there", "--seed", "3"]);
    /// assert_eq!(command.around("--out"), ("lrpilot compare 'my policy'".into(), " --seed 3".into()));
    /// ```
    pub fn around(&self, flag: &str) -> (String, String) {
        let at = self.place(flag).unwrap_or(self.options_end()..self.options_end());
        let before = CommandLine { words: self.words[..at.start].to_vec() };
        let behind = self.words[at.end..].iter().map(|word| format!(" {}", quote(word))).collect();
        (before.to_string(), behind)
    }

    /// Where an option and its value are: `--flag value`, or `--flag=value` as one word.
    fn place(&self, flag: &str) -> Option<Range<usize>> {
        let end = self.options_end();
        let joined = format!("{flag}=");
        let starts = |word: &OsString| word.as_encoded_bytes().starts_with(joined.as_bytes());
        let at = self.words[..end].iter().position(|word| word == flag || starts(word))?;
        Some(at..if starts(&self.words[at]) { at + 1 } else { (at + 2).min(end) })
    }

    /// How many words come before `--`, after which nothing is an option.
    fn options_end(&self) -> usize {
        self.words.iter().position(|word| word == "--").unwrap_or(self.words.len())
    }
}

impl fmt::Display for CommandLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "lrpilot")?;
        self.words.iter().try_for_each(|word| write!(f, " {}", quote(word)))
    }
}

fn is_dashed(value: &OsStr) -> bool {
    value.as_encoded_bytes().starts_with(b"-")
}

/// One word of a shell command that stands for exactly `word`, whatever is in it.
///
/// Bytes that are no UTF-8 and control characters are written as octal escapes of `printf`, which every POSIX shell has
/// and which make the word printable on one line.
///
/// ```
/// use lrpilot::cli::command::quote;
/// assert_eq!(quote("runs/a-1".as_ref()), "runs/a-1");
/// assert_eq!(quote("a b".as_ref()), "'a b'");
/// assert_eq!(quote("a\nb".as_ref()), r#""$(printf 'a\012b')""#);
/// ```
pub fn quote(word: &OsStr) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./,:=+@%".contains(c);
    match word.to_str() {
        Some(text) if !text.is_empty() && text.chars().all(plain) => text.to_owned(),
        Some(text) if !text.chars().any(char::is_control) => format!("'{}'", text.replace('\'', r"'\''")),
        _ => escaped(word.as_encoded_bytes()),
    }
}

/// `"$(printf '…')"`. A shell takes newlines off the end of what a command prints, so those stand behind it.
fn escaped(bytes: &[u8]) -> String {
    let ending = bytes.iter().rev().take_while(|b| **b == b'\n').count();
    let escape = |byte: &u8| match byte {
        b if b.is_ascii_alphanumeric() || b"-_./,:=+@ ".contains(b) => char::from(*b).to_string(),
        b => format!("\\{b:03o}"),
    };
    // A first dash would be taken for an option of printf.
    let body: String = bytes[..bytes.len() - ending].iter().map(escape).collect();
    let body = body.strip_prefix('-').map_or(body.clone(), |rest| format!("\\055{rest}"));
    let newlines = if ending > 0 { format!("'{}'", "\n".repeat(ending)) } else { String::new() };
    format!("\"$(printf '{body}')\"{newlines}")
}

/// The folder beside `out` whose name ends with `-compared`.
pub fn compared(out: &Path) -> PathBuf {
    match out.file_name() {
        Some(name) => {
            let mut name = name.to_owned();
            name.push("-compared");
            out.with_file_name(name)
        }
        None => out.join("compared"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(words: &[&str]) -> CommandLine {
        CommandLine { words: words.iter().map(OsString::from).collect() }
    }

    #[test]
    fn resume_is_an_option_and_stands_once() {
        assert_eq!(line(&["learn", "a"]).resuming(), line(&["learn", "a", "--resume"]));
        assert_eq!(line(&["learn", "--resume", "a"]).resuming(), line(&["learn", "--resume", "a"]));
        assert_eq!(line(&["learn", "--", "a"]).resuming(), line(&["learn", "--resume", "--", "a"]));
        assert_eq!(line(&["learn", "--", "--resume"]).resuming(), line(&["learn", "--resume", "--", "--resume"]));
        assert_eq!(line(&["learn", "--resume", "--", "--resume"]).starting(), line(&["learn", "--", "--resume"]));
        // A name that contains the flag is not the flag.
        let named = line(&["learn", "a", "--out", "my--resume"]);
        assert_eq!(named.clone().starting(), named);
        assert!(named.resuming().to_string().ends_with("my--resume --resume"));
    }

    #[test]
    fn values_that_look_like_options_stay_values() {
        let command = CommandLine::new("compare").argument("-a/policy").option("--out", "-b");
        assert_eq!(command.to_string(), "lrpilot compare ./-a/policy --out=-b");
    }

    #[test]
    fn the_folder_of_the_comparison_is_beside_the_policy() {
        for (out, beside) in
            [("runs/a", "runs/a-compared"), ("runs/a/", "runs/a-compared"), (".", "./compared"), ("/", "/compared")]
        {
            assert_eq!(compared(Path::new(out)), Path::new(beside), "{out}");
        }
    }
}
