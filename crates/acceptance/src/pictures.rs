//! Pictures of every page, wide and narrow, light and dark: to be looked at, and for the README.

use std::path::PathBuf;

use crate::chromium::Chromium;
use crate::scene::Scene;

/// The two widths at which pages are looked at: a desk, and a telephone.
pub const WIDTHS: [u32; 2] = [1280, 390];

/// High enough for the stage with the status page in it.
const STAGE_HEIGHT: u32 = 1_250;

/// The frame is a page of its own and comes later than the stage.
const SETTLED: &str = "new Promise(done => setTimeout(done, 1500))";

/// What may be said on the command line.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where the pictures go.
    #[arg(long, default_value = "docs/pictures")]
    out: PathBuf,
}

/// Takes pictures of every page of a demo whose API is broken.
///
/// # Errors
/// A page that does not come, or a folder that cannot be written to.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let folder = &args.out;
    std::fs::create_dir_all(folder)?;
    let scene = Scene::start()?;
    let mut browser = Chromium::start()?;
    scene.break_it(&mut browser)?;
    let mut pages: Vec<(&str, String)> =
        scene.pages(&mut browser)?.into_iter().map(|(name, path)| (name, format!("{}{path}", scene.app))).collect();
    pages.push(("stage", scene.stage.clone()));
    for (name, url) in &pages {
        for width in WIDTHS {
            for dark in [false, true] {
                let height = if *name == "stage" { STAGE_HEIGHT } else { 900 };
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
