//! The word that was probably meant where a word is unknown: an option, a task, a variable.

/// The known word that differs from `word` in a letter or two. Words of up to four letters may differ in one.
pub(super) fn typo<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let most = if word.len() > 4 { 2 } else { 1 };
    let near = known.into_iter().map(|known| (distance(word, known), known));
    near.filter(|(distance, _)| *distance <= most).min().map(|(_, known)| known)
}

/// The first known name that begins or ends with the parts of `word`; `separator` stands between the parts of a name.
pub(super) fn longer<'a>(
    word: &str,
    separator: char,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let (start, end) = (format!("{word}{separator}"), format!("{separator}{word}"));
    known.into_iter().find(|known| known.starts_with(&start) || known.ends_with(&end))
}

/// Letters to insert, remove or replace until one text is the other.
pub(super) fn distance(one: &str, other: &str) -> usize {
    let other = other.as_bytes();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (done, letter) in one.bytes().take(LONGEST_WORD).enumerate() {
        let (mut left, mut above_left) = (done + 1, done);
        for (cell, &against) in row.iter_mut().skip(1).zip(other) {
            let replaced = above_left + usize::from(letter != against);
            above_left = *cell;
            *cell = replaced.min(left + 1).min(*cell + 1);
            left = *cell;
        }
        if let Some(first) = row.first_mut() {
            *first = done + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

/// Longest word that is compared, in bytes. No name of an entry is longer.
const LONGEST_WORD: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_letters_to_change() {
        for (one, other, letters) in [
            ("", "", 0),
            ("", "ab", 2),
            ("ab", "", 2),
            ("label", "label", 0),
            ("lable", "label", 2),
            ("port", "ports", 1),
        ] {
            assert_eq!(distance(one, other), letters, "{one} {other}");
        }
    }

    #[test]
    fn short_word_may_differ_from_a_known_one_in_one_letter_only() {
        let known = ["port", "verify", "min-receivers", "max-receivers"];
        assert_eq!((typo("prt", known), typo("prto", known)), (Some("port"), None));
        assert_eq!((typo("verfy", known), typo("replace", known)), (Some("verify"), None));
        assert_eq!(longer("receivers", '-', known), Some("min-receivers"));
        assert_eq!(longer("receiver", '-', known), None);
    }
}
