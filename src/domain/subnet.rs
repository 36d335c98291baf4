//! Where networks of services are taken from: a pool of addresses, cut into pieces of sixteen.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

/// Addresses that begin alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subnet {
    first: u32,
    /// How many bits are alike.
    prefix: u8,
}

/// A piece has fourteen hosts, of which the bridge is one.
const PIECE: u8 = 28;

impl Default for Subnet {
    /// Neither Docker's own, nor what companies and clouds take first.
    fn default() -> Self {
        Self { first: u32::from(Ipv4Addr::new(10, 213, 0, 0)), prefix: 16 }
    }
}

impl Subnet {
    /// How many pieces it has.
    pub fn pieces(&self) -> u32 {
        1 << PIECE.saturating_sub(self.prefix)
    }

    /// Its piece of that number, counted around.
    #[must_use]
    pub fn piece(&self, number: u32) -> Self {
        let at = number % self.pieces();
        Self { first: self.first + (at << (32 - PIECE)), prefix: PIECE }
    }

    pub fn overlaps(&self, other: &Self) -> bool {
        let mask = mask(self.prefix.min(other.prefix));
        self.first & mask == other.first & mask
    }
}

fn mask(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)
}

impl FromStr for Subnet {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no range of addresses: write it as `10.213.0.0/16`");
        let (first, prefix) = text.split_once('/').ok_or_else(wrong)?;
        let first = u32::from(first.parse::<Ipv4Addr>().map_err(|_| wrong())?);
        let prefix = prefix.parse().ok().filter(|prefix| *prefix <= 32).ok_or_else(wrong)?;
        if first & !mask(prefix) != 0 {
            return Err(wrong());
        }
        Ok(Self { first, prefix })
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", Ipv4Addr::from(self.first), self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subnet(text: &str) -> Subnet {
        text.parse().unwrap()
    }

    #[test]
    fn a_pool_has_pieces_that_do_not_overlap() {
        let pool = subnet("10.213.0.0/16");
        assert_eq!(pool.pieces(), 4096);
        assert_eq!(pool.piece(0).to_string(), "10.213.0.0/28");
        assert_eq!(pool.piece(17).to_string(), "10.213.1.16/28");
        assert_eq!(pool.piece(4096), pool.piece(0));
        assert!(!pool.piece(1).overlaps(&pool.piece(2)));
        assert!(pool.overlaps(&pool.piece(9)) && pool.piece(9).overlaps(&pool));
        assert!(!subnet("10.214.0.0/16").overlaps(&pool));
        assert!(subnet("0.0.0.0/0").overlaps(&pool));
        assert_eq!(subnet("10.0.0.0/28").pieces(), 1);
    }

    #[test]
    fn what_is_no_range_is_said() {
        for wrong in ["", "10.0.0.0", "10.0.0.1/16", "10.0.0.0/33", "a/16", "10.0.0.0/x"] {
            assert!(wrong.parse::<Subnet>().unwrap_err().contains("10.213.0.0/16"), "{wrong}");
        }
    }
}
