//! A page's own colour, made dark or light enough that links in it can be read.

/// WCAG 2.2's AA for text is 4.5 : 1; a little more, because colours are rounded.
const READABLE: f64 = 4.6;

/// What links stand on, as `allclear.css` has it: the page and its cards, light and dark.
const LIGHT: [Rgb; 2] = [[0xf6, 0xf7, 0xf9], [0xff, 0xff, 0xff]];
const DARK: [Rgb; 2] = [[0x14, 0x17, 0x1b], [0x1d, 0x21, 0x27]];

type Rgb = [u8; 3];

/// The stylesheet of a page with this colour, as `#1f5fbf`: the colour itself, and that of links in each theme.
pub(super) fn stylesheet(colour: &str) -> String {
    let Some(own) = parse(colour) else { return String::new() };
    let (light, dark) = (hex(readable(own, LIGHT, 0)), hex(readable(own, DARK, 255)));
    format!(
        ":root {{ --brand: {colour}; --link: {light}; }}\n@media (prefers-color-scheme: dark) {{ :root {{ --link: {dark}; }} }}\n",
        colour = hex(own)
    )
}

/// The colour, mixed with as much of black or white as it takes.
fn readable(own: Rgb, grounds: [Rgb; 2], towards: u8) -> Rgb {
    const STEPS: u16 = 40;
    let mix = |step: u16| {
        own.map(|part| {
            let mixed = (u16::from(part) * (STEPS - step) + u16::from(towards) * step) / STEPS;
            u8::try_from(mixed).unwrap_or(towards)
        })
    };
    let found = (0..=STEPS).map(mix).find(|colour| grounds.iter().all(|ground| contrast(*colour, *ground) >= READABLE));
    found.unwrap_or([towards; 3])
}

/// The ratio of two colours' luminance, from 1 to 21 (WCAG 2.2, "contrast ratio").
fn contrast(a: Rgb, b: Rgb) -> f64 {
    let (a, b) = (luminance(a), luminance(b));
    (a.max(b) + 0.05) / (a.min(b) + 0.05)
}

/// WCAG 2.2, "relative luminance".
fn luminance(colour: Rgb) -> f64 {
    let linear = |part: u8| {
        let share = f64::from(part) / 255.0;
        if share <= 0.040_45 { share / 12.92 } else { ((share + 0.055) / 1.055).powf(2.4) }
    };
    0.2126 * linear(colour[0]) + 0.7152 * linear(colour[1]) + 0.0722 * linear(colour[2])
}

fn parse(text: &str) -> Option<Rgb> {
    let number = u32::from_str_radix(text.strip_prefix('#').filter(|digits| digits.len() == 6)?, 16).ok()?;
    let [_, red, green, blue] = number.to_be_bytes();
    Some([red, green, blue])
}

fn hex([red, green, blue]: Rgb) -> String {
    format!("#{red:02x}{green:02x}{blue:02x}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn contrast_is_as_wcag_counts_it() {
        assert!((contrast([0, 0, 0], [255, 255, 255]) - 21.0).abs() < 0.01);
        assert!((contrast([0x76, 0x76, 0x76], [255, 255, 255]) - 4.54).abs() < 0.01);
    }

    #[test]
    fn a_colour_that_can_be_read_stays_as_it_is() {
        let style = stylesheet("#1f5fbf");
        assert!(style.contains("--brand: #1f5fbf; --link: #1f5fbf;"), "{style}");
        assert!(stylesheet("#ffff99").contains("--brand: #ffff99;"));
    }

    proptest! {
        #[test]
        fn links_can_be_read_on_every_ground_whatever_the_colour(own in any::<[u8; 3]>()) {
            for (grounds, towards) in [(LIGHT, 0), (DARK, 255)] {
                let link = readable(own, grounds, towards);
                prop_assert!(grounds.iter().all(|ground| contrast(link, *ground) >= 4.5), "{}", hex(link));
            }
        }
    }
}
