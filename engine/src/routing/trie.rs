//! Values at prefixes of decimal digits. It knows neither routes nor prices, only places in somebody's list.

/// No value, or no further node.
pub(super) const NONE: u32 = u32::MAX;

/// Values at runs of decimal digits; several roots share the nodes' memory.
#[derive(Clone, Debug, Default)]
pub(super) struct Trie {
    nodes: Vec<Node>,
}

#[derive(Clone, Debug)]
struct Node {
    children: [u32; 10],
    value: u32,
}

impl Trie {
    pub(super) fn add_node(&mut self) -> u32 {
        self.nodes.push(Node { children: [NONE; 10], value: NONE });
        (self.nodes.len() - 1) as u32
    }

    /// The place of the value at `digits` below `root`, made where it is not there.
    pub(super) fn value_at(&mut self, root: u32, digits: &[u8]) -> &mut u32 {
        let mut node = root;
        for digit in digits {
            let mut next = self.nodes[node as usize].children[usize::from(*digit)];
            if next == NONE {
                next = self.add_node();
                self.nodes[node as usize].children[usize::from(*digit)] = next;
            }
            node = next;
        }
        &mut self.nodes[node as usize].value
    }

    /// Shows every value on the way down, with its depth.
    pub(super) fn walk(&self, root: u32, digits: &Digits, mut show: impl FnMut(usize, u32)) {
        let Some(mut node) = self.nodes.get(root as usize) else {
            return;
        };
        for depth in 0.. {
            if node.value != NONE {
                show(depth, node.value);
            }
            let next = digits.get(depth).map_or(NONE, |digit| node.children[usize::from(digit)]);
            if next == NONE {
                return;
            }
            node = &self.nodes[next as usize];
        }
    }
}

/// The decimal digits of a number, the first one first.
pub(super) struct Digits {
    digits: [u8; 20],
    first: usize,
}

impl Digits {
    pub(super) fn new(number: u64) -> Digits {
        let mut digits = [0; 20];
        let mut first = digits.len();
        let mut rest = number;
        while rest > 0 {
            first -= 1;
            digits[first] = (rest % 10) as u8;
            rest /= 10;
        }
        Digits { digits, first }
    }

    fn get(&self, place: usize) -> Option<u8> {
        self.digits.get(self.first + place).copied()
    }
}

/// The values of a prefix's digits.
pub(super) fn prefix_digits(prefix: &str) -> Option<Vec<u8>> {
    let digits = prefix.strip_prefix('+').unwrap_or(prefix);
    digits.bytes().map(|octet| octet.is_ascii_digit().then(|| octet - b'0')).collect()
}
