//! Drain: a tree of fixed depth that finds the template of a line without looking at all of them.
//!
//! After Pinjia He, Jieming Zhu, Zibin Zheng, Michael R. Lyu, "Drain: An Online Log Parsing Approach with Fixed Depth Tree", ICWS 2017,
//! and the evaluation of Jieming Zhu et al., "Tools and Benchmarks for Automated Log Parsing", ICSE-SEIP 2019.
//!
//! ```text
//!   number of tokens      first tokens            leaf: templates
//!         3 ──────── "session" ── "opened" ── [session opened <*>]
//!                └── "<*>" ──────  …           (tokens with digits or masks, and what finds no room)
//! ```
//!
//! A line descends by its number of tokens and its first [`Rules::prefix`] tokens; one that no branch names goes into the branch of
//! [`WILDCARD`]. In the leaf the template with the largest share of equal tokens takes it, if the share is large enough, and
//! gives up the tokens that differ. Otherwise the line is a template of its own. Masks count as equal tokens.
//!
//! The tree is a pure function of the templates and the paths that they were given: it is not saved, but built again. Ties go to the
//! template with more wildcards, then to the smaller id, so that no order of insertion shows.

use std::collections::BTreeMap;

use super::mask::Masked;

/// A token that may be any.
pub const WILDCARD: &str = "<*>";

/// The three numbers of Drain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Share of tokens, in percent, that must be equal.
    pub similarity: u32,
    /// Tokens that a line descends by: the paper's depth less three.
    pub prefix: usize,
    /// Branches of a node.
    pub children: usize,
}

/// The templates of one service.
#[derive(Debug, Default)]
pub struct Tree {
    by_length: BTreeMap<usize, Node>,
}

#[derive(Debug, Default)]
struct Node {
    branches: BTreeMap<String, Node>,
    leaf: Vec<Leaf>,
}

#[derive(Debug)]
struct Leaf {
    id: u64,
    tokens: Vec<String>,
}

/// The template that takes a line.
#[derive(Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// As it is.
    Same(u64),
    /// These are its tokens from now on.
    Wider(u64, &'a [String]),
}

impl Tree {
    /// The template that takes `line`, which gives up what differs.
    pub fn find(&mut self, line: &Masked, rules: &Rules) -> Option<Found<'_>> {
        let mut node = self.by_length.get_mut(&line.count())?;
        for token in line.tokens().take(rules.prefix) {
            let name = if node.branches.contains_key(token) {
                token
            } else {
                WILDCARD
            };
            node = node.branches.get_mut(name)?;
        }
        let mut best: Option<(usize, usize, std::cmp::Reverse<u64>, usize)> = None;
        for (at, leaf) in node.leaf.iter().enumerate() {
            let (equal, wild) = compare(&leaf.tokens, line);
            let this = (equal, wild, std::cmp::Reverse(leaf.id), at);
            best = best.max(Some(this));
        }
        let (equal, wild, _, at) = best?;
        if (equal * 100) < rules.similarity as usize * line.count() {
            return None;
        }
        let leaf = &mut node.leaf[at];
        if equal + wild == line.count() {
            return Some(Found::Same(leaf.id));
        }
        for (token, said) in leaf.tokens.iter_mut().zip(line.tokens()) {
            if token != said {
                WILDCARD.clone_into(token);
            }
        }
        Some(Found::Wider(leaf.id, &leaf.tokens))
    }

    /// The branches by which a new template of these tokens is reached.
    pub fn path_for(&self, line: &Masked, rules: &Rules) -> Vec<String> {
        let mut path = Vec::with_capacity(rules.prefix);
        let mut node = self.by_length.get(&line.count());
        for token in line.tokens().take(rules.prefix) {
            let branches = node.map(|node| &node.branches);
            let known = branches.is_some_and(|branches| branches.contains_key(token));
            let count = branches.map_or(0, BTreeMap::len);
            let wild = branches.is_some_and(|branches| branches.contains_key(WILDCARD));
            // The last place is the wildcard's.
            let room = count + usize::from(!wild) < rules.children;
            let name = if known || (room && !varies(token)) {
                token
            } else {
                WILDCARD
            };
            node = branches.and_then(|branches| branches.get(name));
            path.push(name.to_owned());
        }
        path
    }

    /// Puts a template where its path leads.
    pub fn plant(&mut self, id: u64, path: &[String], tokens: Vec<String>) {
        let mut node = self.by_length.entry(tokens.len()).or_default();
        for name in path {
            node = node.branches.entry(name.clone()).or_default();
        }
        node.leaf.push(Leaf { id, tokens });
    }

    /// All templates.
    pub fn ids(&self) -> Vec<u64> {
        let mut ids = Vec::new();
        self.by_length.values().for_each(|node| node.collect(&mut ids));
        ids
    }

    /// Takes it out, and the branches that led to it alone.
    pub fn uproot(&mut self, id: u64, path: &[String], length: usize) {
        let Some(node) = self.by_length.get_mut(&length) else {
            return;
        };
        node.uproot(id, path);
        if node.bare() {
            self.by_length.remove(&length);
        }
    }
}

impl Node {
    fn uproot(&mut self, id: u64, path: &[String]) {
        match path.split_first() {
            None => self.leaf.retain(|leaf| leaf.id != id),
            Some((name, rest)) => {
                let Some(node) = self.branches.get_mut(name) else {
                    return;
                };
                node.uproot(id, rest);
                if node.bare() {
                    self.branches.remove(name);
                }
            }
        }
    }

    fn collect(&self, ids: &mut Vec<u64>) {
        ids.extend(self.leaf.iter().map(|leaf| leaf.id));
        self.branches.values().for_each(|node| node.collect(ids));
    }

    fn bare(&self) -> bool {
        self.branches.is_empty() && self.leaf.is_empty()
    }
}

/// Equal tokens, and wildcards of the template.
fn compare(template: &[String], line: &Masked) -> (usize, usize) {
    let (mut equal, mut wild) = (0, 0);
    for (token, said) in template.iter().zip(line.tokens()) {
        if token == said {
            equal += 1;
        } else if token == WILDCARD {
            wild += 1;
        }
    }
    (equal, wild)
}

/// Whether a token is of the kind that differs from line to line.
fn varies(token: &str) -> bool {
    token.bytes().any(|byte| byte.is_ascii_digit() || byte == b'<')
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules = Rules {
        similarity: 60,
        prefix: 1,
        children: 3,
    };

    /// Mines lines; the templates in order of their making.
    fn mine(lines: &[&str]) -> Vec<String> {
        let (mut tree, mut masked) = (Tree::default(), Masked::default());
        let mut templates: Vec<Vec<String>> = Vec::new();
        for line in lines {
            masked.read(line);
            match tree.find(&masked, &RULES) {
                Some(Found::Same(_)) => {}
                Some(Found::Wider(id, tokens)) => templates[id as usize] = tokens.to_vec(),
                None => {
                    let tokens: Vec<String> = masked.tokens().map(str::to_owned).collect();
                    let path = tree.path_for(&masked, &RULES);
                    tree.plant(templates.len() as u64, &path, tokens.clone());
                    templates.push(tokens);
                }
            }
        }
        templates.into_iter().map(|tokens| tokens.join(" ")).collect()
    }

    #[test]
    fn templates() {
        let check = |lines: &[&str], expected: &[&str]| assert_eq!(mine(lines), expected);
        check(&["opened for ada", "opened for bob"], &["opened for <*>"]);
        check(
            &["opened for ada", "opened for ada now"],
            &["opened for ada", "opened for ada now"],
        );
        check(&["a b c d e", "a x y z e"], &["a b c d e", "a x y z e"]);
        check(&["took 12 ms", "took 7 ms"], &["took <num> ms"]);
        check(&["", ""], &[""]);
    }

    #[test]
    fn an_unseen_first_token_goes_into_the_wildcard_branch_before_it_makes_one() {
        // Two branches and the wildcard's are all there is room for.
        let lines = ["a is up now", "b is up now", "c is up now", "d is up now"];
        assert_eq!(mine(&lines), ["a is up now", "b is up now", "<*> is up now"]);
        assert_eq!(mine(&["node7 is up now", "x is up now"]), ["<*> is up now"]);
    }

    #[test]
    fn what_is_uprooted_leaves_nothing_behind() {
        let (mut tree, mut masked) = (Tree::default(), Masked::default());
        masked.read("a b");
        let path = tree.path_for(&masked, &RULES);
        tree.plant(7, &path, vec!["a".into(), "b".into()]);
        assert_eq!(tree.find(&masked, &RULES), Some(Found::Same(7)));
        tree.uproot(7, &path, 2);
        assert!(tree.by_length.is_empty());
    }
}
