import { mount } from "svelte";
import "./app.css";
import App from "./App.svelte";
import { router } from "./lib/router.svelte";
import { session } from "./lib/session.svelte";
import { theme } from "./lib/theme.svelte";
import { watched } from "./lib/watched.svelte";

session.begin();
watched.begin();
theme.begin();
router.begin();
mount(App, { target: document.getElementById("app")! });
