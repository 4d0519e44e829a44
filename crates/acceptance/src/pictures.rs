//! Pictures of every page, wide and narrow, light and dark: to be looked at, and for the README.

use std::path::{Path, PathBuf};

use crate::chromium::Chromium;
use crate::scene::Scene;

/// The two widths at which pages are looked at: a desk, and a telephone.
pub const WIDTHS: [u32; 2] = [1280, 390];

/// How high the window is: at a desk the stage fits in, on a telephone its parts stand below each other.
const HEIGHT: u32 = 900;
const NARROW_STAGE: u32 = 3_000;

/// The picture that the README opens with.
const README_PICTURE: &str = "docs/pictures/loop.png";

/// The frame is a page of its own and comes later than the stage.
const SETTLED: &str = "new Promise(done => setTimeout(done, 1500))";

/// What may be said on the command line.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where the pictures go.
    #[arg(long, default_value = "target/screenshots")]
    out: PathBuf,
}

/// Takes pictures of every page of a demo whose API is broken, and the README's own.
///
/// # Errors
/// A page that does not come, or a folder that cannot be written to.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let folder = &args.out;
    std::fs::create_dir_all(folder)?;
    let scene = Scene::start()?;
    let mut browser = Chromium::start()?;
    scene.break_it(&mut browser)?;
    // While the telephone rings.
    let mut pages = vec![("stage", scene.stage.clone())];
    browser.open(&scene.stage)?;
    browser.until("document.getElementById('call') !== null")?;
    take(&mut browser, &pages, folder)?;
    std::fs::copy(folder.join("stage-1280-light.png"), README_PICTURE)?;
    pages = scene.pages(&mut browser)?.into_iter().map(|(name, path)| (name, format!("{}{path}", scene.app))).collect();
    take(&mut browser, &pages, folder)
}

fn take(browser: &mut Chromium, pages: &[(&str, String)], folder: &Path) -> anyhow::Result<()> {
    for (name, url) in pages {
        for width in WIDTHS {
            for dark in [false, true] {
                let height = if *name == "stage" && width == WIDTHS[1] { NARROW_STAGE } else { HEIGHT };
                browser.look_at(width, height, dark)?;
                browser.open(url)?;
                if *name == "stage" {
                    browser.evaluate(SETTLED)?;
                }
                let file = folder.join(format!("{name}-{width}-{}.png", if dark { "dark" } else { "light" }));
                std::fs::write(&file, browser.picture()?)?;
            }
        }
        println!("{name}");
    }
    Ok(())
}
