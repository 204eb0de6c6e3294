"""GLSL of the EGL renderer: one vertex program, and fragments for pictures, sky, shadows and instance ids."""

from __future__ import annotations

VERTEX = """
#version 330
uniform mat4 u_clip_from_scene;
uniform mat4 u_scene_from_mesh;
uniform mat3 u_normal_matrix;
in vec3 in_position; in vec3 in_normal; in vec3 in_colour; in vec2 in_uv; in vec2 in_kind;
out vec3 v_position; out vec3 v_normal; out vec3 v_colour; out vec2 v_uv; out vec3 v_local;
flat out int v_material; flat out float v_extra;
invariant gl_Position;
void main() {
    vec4 p = u_scene_from_mesh * vec4(in_position, 1.0);
    gl_Position = u_clip_from_scene * p;
    v_position = p.xyz; v_local = in_position;
    v_normal = u_normal_matrix * in_normal;
    v_colour = in_colour; v_uv = in_uv; v_material = int(in_kind.x + 0.5); v_extra = in_kind.y;
}
"""

DEPTH_VERTEX = """
#version 330
uniform mat4 u_clip_from_scene;
uniform mat4 u_scene_from_mesh;
in vec3 in_position;
invariant gl_Position;
void main() { vec4 p = u_scene_from_mesh * vec4(in_position, 1.0); gl_Position = u_clip_from_scene * p; }
"""

DEPTH_FRAGMENT = """
#version 330
void main() {}
"""

ID_FRAGMENT = """
#version 330
uniform int u_id;
out int f_id;
void main() { f_id = u_id; }
"""

SKY_VERTEX = """
#version 330
in vec2 in_corner;
out vec2 v_ndc;
void main() { v_ndc = in_corner; gl_Position = vec4(in_corner, 1.0, 1.0); }
"""

# Shared by sky and surfaces: the light of the sky in a direction, without clouds.
SKY_LIGHT = """
uniform vec3 u_sun; uniform vec3 u_sun_colour; uniform vec3 u_zenith; uniform vec3 u_horizon;
uniform sampler2D u_noise;
vec3 sky_light(vec3 d) {
    float h = clamp(d.z, 0.0, 1.0);
    vec3 c = mix(u_horizon, u_zenith, 1.0 - pow(1.0 - h, 3.2));
    float s = max(dot(d, u_sun), 0.0);
    c += u_sun_colour * (0.10 * pow(s, 8.0) + 0.35 * pow(s, 90.0));
    return d.z < 0.0 ? mix(c, vec3(0.16, 0.155, 0.15), clamp(-d.z * 6.0, 0.0, 1.0)) : c;
}
vec3 tone(vec3 c) {
    c = (c * (2.51 * c + 0.03)) / (c * (2.43 * c + 0.59) + 0.14);
    return pow(clamp(c, 0.0, 1.0), vec3(1.0 / 2.2));
}
"""

SKY_FRAGMENT = (
    """
#version 330
uniform mat4 u_direction_from_ndc;
uniform float u_cloud;
in vec2 v_ndc;
out vec4 f_colour;
"""
    + SKY_LIGHT
    + """
void main() {
    vec3 d = normalize((u_direction_from_ndc * vec4(v_ndc, 1.0, 1.0)).xyz);
    vec3 c = sky_light(vec3(d.xy, max(d.z, 0.0)));
    if (d.z > 0.005) {
        vec2 p = d.xy / (d.z + 0.12) * 0.05;
        float n = texture(u_noise, p).r * 0.5 + texture(u_noise, p * 2.1 + 0.3).g * 0.27
                + texture(u_noise, p * 4.7).b * 0.15 + texture(u_noise, p * 11.0).a * 0.08;
        float cover = smoothstep(0.62 - 0.3 * u_cloud, 0.95 - 0.3 * u_cloud, n) * smoothstep(0.0, 0.12, d.z);
        c = mix(c, u_horizon * 0.35 + vec3(0.72) + 0.12 * u_sun_colour, 0.85 * cover);
    }
    f_colour = vec4(tone(c), 1.0);
}
"""
)

SURFACE_FRAGMENT = (
    """
#version 330
in vec3 v_position; in vec3 v_normal; in vec3 v_colour; in vec2 v_uv; in vec3 v_local;
flat in int v_material; flat in float v_extra;
uniform vec3 u_eye; uniform vec3 u_paint; uniform float u_braking;
uniform sampler2DShadow u_near_shadow; uniform sampler2DShadow u_far_shadow;
uniform mat4 u_near_from_scene; uniform mat4 u_far_from_scene;
uniform float u_fog;
out vec4 f_colour;
"""
    + SKY_LIGHT
    + """
vec3 linear(vec3 c) { return pow(c, vec3(2.2)); }
// Share of a periodic band [0, width) of the cell covered by the pixel, box filtered.
float band(float x, float width, float filter_width) {
    float f = max(filter_width, 1e-4);
    float a = x - 0.5 * f, b = x + 0.5 * f;
    float ia = floor(a) * width + min(fract(a), width), ib = floor(b) * width + min(fract(b), width);
    return clamp((ib - ia) / f, 0.0, 1.0);
}
float hash(vec2 p) { return fract(sin(dot(p, vec2(12.9898, 78.233))) * 43758.5453); }

float shadow(vec3 p, vec3 n) {
    vec3 q = p + n * 0.06;
    vec3 s = (u_near_from_scene * vec4(q, 1.0)).xyz;
    if (all(lessThan(abs(s.xy - 0.5), vec2(0.49)))) {
        float r = 1.1 / float(textureSize(u_near_shadow, 0).x);
        float z = s.z - 0.0004;
        return 0.25 * (texture(u_near_shadow, vec3(s.xy + vec2(-r, -0.4 * r), z))
            + texture(u_near_shadow, vec3(s.xy + vec2(0.4 * r, -r), z))
            + texture(u_near_shadow, vec3(s.xy + vec2(r, 0.4 * r), z))
            + texture(u_near_shadow, vec3(s.xy + vec2(-0.4 * r, r), z)));
    }
    s = (u_far_from_scene * vec4(p + n * 0.3, 1.0)).xyz;
    if (any(greaterThan(abs(s.xy - 0.5), vec2(0.495)))) return 1.0;
    return texture(u_far_shadow, vec3(s.xy, s.z - 0.001));
}

vec3 asphalt(vec3 p) {
    float grain = texture(u_noise, p.xy * 0.9).r, patch_ = texture(u_noise, p.xy * 0.017).g, mid = texture(u_noise, p.xy * 0.11).b;
    vec3 c = vec3(0.098, 0.100, 0.106) * (0.72 + 0.34 * grain + 0.26 * (patch_ - 0.5) + 0.20 * (mid - 0.5));
    vec2 a = abs(p.xy);
    bool arm = max(a.x, a.y) > 16.0;
    float v = a.x > a.y ? a.y : a.x;
    if (arm && v < 10.4) {  // wheel tracks
        float lane = fract((v - 0.2) / 3.4);
        float track = exp(-pow((abs(lane - 0.5) - 0.25) * 9.0, 2.0));
        c *= 1.0 - 0.13 * track;
    }
    float crack = abs(texture(u_noise, p.xy * 0.031 + 0.37).r - 0.5) + 0.5 * abs(texture(u_noise, p.xy * 0.21).g - 0.5);
    c *= 1.0 - 0.28 * (1.0 - smoothstep(0.0, 0.016, crack));
    return c;
}

vec3 paving(vec3 p) {
    vec2 fw = fwidth(p.xy) + 1e-4;
    float joint = 1.0 - band(p.x / 0.5, 0.95, fw.x / 0.5) * band(p.y / 0.5, 0.95, fw.y / 0.5);
    float fade = 1.0 / (1.0 + 4.0 * max(fw.x, fw.y));
    float tint = (hash(floor(p.xy / 0.5)) - 0.5) * fade;
    float dirt = texture(u_noise, p.xy * 0.05).r;
    return linear(v_colour) * (0.80 + 0.16 * tint + 0.35 * (dirt - 0.5)) * (1.0 - 0.35 * joint * fade);
}

struct Surface { vec3 albedo; vec3 normal; float gloss; float reflect; vec3 glow; float wrap; };

vec3 interior(float id, vec2 in_window) {
    float h = hash(vec2(id, 3.7));
    vec3 c = mix(vec3(0.025, 0.03, 0.035), vec3(0.30, 0.28, 0.24), h > 0.72 ? 0.75 : 0.12 * h);
    if (h > 0.45 && h < 0.72) c = mix(c, vec3(0.42, 0.40, 0.36), step(in_window.y, 0.35 + 0.6 * fract(h * 17.0)) * 0.6);
    return c * (0.65 + 0.35 * smoothstep(1.0, 0.6, in_window.y));
}

void facade(inout Surface s) {
    float style = floor(v_extra), seed = fract(v_extra);
    vec2 cell = style < 1.0 ? vec2(3.0, 3.0) : style < 2.0 ? vec2(2.4, 3.1) : style < 3.0 ? vec2(1.5, 3.6)
        : style < 4.0 ? vec2(4.2, 3.3) : vec2(1.9, 3.2);
    vec2 open = style < 1.0 ? vec2(0.56, 0.52) : style < 2.0 ? vec2(0.46, 0.58) : style < 3.0 ? vec2(0.94, 0.80)
        : style < 4.0 ? vec2(0.90, 0.46) : vec2(0.52, 0.74);
    cell.x *= 0.9 + 0.25 * seed;
    vec2 q = v_uv / cell, fw = fwidth(q) + 1e-4;
    vec2 w = q - 0.5 * (1.0 - open);
    float window = band(w.x, open.x, fw.x) * band(w.y, open.y, fw.y);
    vec2 wi = w - vec2(0.06, 0.05) * 0.5, oi = open - vec2(0.06, 0.05);
    float pane = band(wi.x, oi.x, fw.x) * band(wi.y, oi.y, fw.y);
    vec2 id = floor(w);
    vec3 wall = linear(v_colour);
    float dirt = texture(u_noise, v_uv * 0.021 + seed).r + 0.5 * texture(u_noise, v_uv * vec2(0.31, 0.02)).g;
    wall *= 0.82 + 0.24 * dirt;
    if (style >= 1.0 && style < 2.0) {  // brick
        vec2 b = v_uv / vec2(0.25, 0.085); vec2 bf = fwidth(b) + 1e-4; b.x += 0.5 * mod(floor(b.y), 2.0);
        float joint = 1.0 - band(b.x, 0.92, bf.x) * band(b.y, 0.84, bf.y);
        float detail = 1.0 / (1.0 + 2.0 * max(bf.x, bf.y));
        wall *= 1.0 + (0.35 * (hash(floor(b)) - 0.5) + 0.30 * joint) * detail;
    } else if (style >= 3.0 && style < 4.0) {
        wall *= 1.0 - 0.18 * band(q.y + 0.02, 0.04, fw.y) - 0.08 * band(v_uv.x / 1.4, 0.03, fwidth(v_uv.x) / 1.4);
    } else {
        wall *= 1.0 - 0.14 * band(q.y, 0.05, fw.y);
    }
    vec3 frame = style < 1.0 ? vec3(0.62) : style < 2.0 ? vec3(0.55, 0.53, 0.5) : vec3(0.07, 0.075, 0.08);
    float shade = 1.0 - 0.55 * band(w.y - open.y + 0.16, 0.16, fw.y);  // lintel shadow on the glass
    float number = hash(id + floor(seed * 977.0));
    vec3 glass = interior(number, fract(w) / open) * shade;
    if (style >= 2.0 && style < 3.0) glass = mix(glass, vec3(0.03, 0.055, 0.07), 0.8);
    s.albedo = mix(mix(wall, frame, window), glass, pane);
    s.reflect = pane * (style >= 2.0 && style < 3.0 ? 0.75 : 0.42) * (0.7 + 0.3 * number);
    s.gloss = pane;
    if (style >= 2.0) s.normal = normalize(s.normal + 0.018 * pane * vec3(number - 0.5, fract(number * 7.0) - 0.5, fract(number * 13.0) - 0.5));
}

void shop(inout Surface s) {
    float seed = fract(v_extra * 7.31);
    float bay = 3.6 + 1.6 * seed;
    vec2 q = vec2(v_uv.x / bay, v_uv.y), fw = fwidth(q) + 1e-4;
    float id = floor(q.x) + floor(seed * 91.0);
    float glassy = band(q.x - 0.04, 0.92, fw.x) * smoothstep(0.45, 0.45 + fw.y, q.y) * (1.0 - smoothstep(2.75, 2.75 + fw.y, q.y));
    float mullion = band(v_uv.x / (bay / 3.0) + 0.01, 0.03, fw.x * 3.0);
    float sign = smoothstep(2.95, 2.95 + fw.y, q.y) * (1.0 - smoothstep(3.85, 3.85 + fw.y, q.y));
    vec3 hue = 0.5 + 0.5 * cos(6.283 * (hash(vec2(id, 2.0)) + vec3(0.0, 0.33, 0.67)));
    vec3 board = linear(mix(vec3(0.25), hue, 0.55) * 0.75);
    float text = band(v_uv.x / 0.55, 0.62, fwidth(v_uv.x) / 0.55) * smoothstep(3.2, 3.2 + fw.y, q.y) * (1.0 - smoothstep(3.62, 3.62 + fw.y, q.y))
        * step(0.18, fract(q.x)) * step(fract(q.x), 0.82) * step(0.3, hash(floor(vec2(v_uv.x / 0.275, v_uv.y / 0.21)) + id));
    board = mix(board, vec3(0.85, 0.82, 0.72), text);
    vec3 inside = mix(vec3(0.05), linear(hue) * 0.35, 0.5) * (0.5 + 0.5 * texture(u_noise, v_uv * 0.23 + id).r) + vec3(0.10, 0.08, 0.05) * smoothstep(1.2, 2.6, q.y);
    s.albedo = mix(linear(v_colour) * 0.55, mix(inside, vec3(0.05), mullion), glassy);
    s.albedo = mix(s.albedo, board, sign);
    s.glow = board * sign * 0.18 + inside * glassy * 0.22;
    s.reflect = 0.35 * glassy * (1.0 - mullion); s.gloss = glassy;
}

void main() {
    Surface s = Surface(linear(v_colour), normalize(v_normal), 0.0, 0.0, vec3(0.0), 0.0);
    vec3 d = v_position - u_eye;
    float distance_m = length(d);
    vec3 to_eye = -d / distance_m;
    bool facing = dot(s.normal, to_eye) > 0.0;
    if (v_material == 1) { s.albedo = linear(u_paint) * s.albedo; s.reflect = 0.05; s.gloss = 0.7; }
    else if (v_material == 15) { s.albedo = linear(u_paint) * s.albedo; s.reflect = 0.05; s.gloss = 0.8; }
    else if (v_material == 2) { s.reflect = 0.10; s.gloss = 1.0; }
    else if (v_material == 3) { s.glow = s.albedo * (v_extra > 0.5 && v_extra < 1.5 ? 0.10 + 1.6 * u_braking : v_extra); s.gloss = 0.5; s.reflect = 0.05; }
    else if (v_material == 4) s.albedo = asphalt(v_position);
    else if (v_material == 5) s.albedo = paving(v_position);
    else if (v_material == 6) {
        float n = texture(u_noise, v_position.xy * 0.07).r, m = texture(u_noise, v_position.xy * 0.9).g;
        s.albedo *= 0.55 + 0.5 * n + 0.4 * m;
    }
    else if (v_material == 7) facade(s);
    else if (v_material == 8) {
        float n = texture(u_noise, v_position.xy * 0.35 + v_position.z * 0.21).r;
        float m = texture(u_noise, v_position.xz * 1.7 + v_position.y).g;
        s.albedo *= 0.45 + 0.65 * n + 0.45 * m; s.wrap = 0.55;
    }
    else if (v_material == 9) s.albedo *= 0.72 + 0.35 * texture(u_noise, v_position.xy * 0.6).r - 0.30 * smoothstep(0.55, 0.85, texture(u_noise, v_position.xy * 0.13).g);
    else if (v_material == 10) { s.reflect = 0.12; s.gloss = 0.6; }
    else if (v_material == 11) s.albedo = linear(u_paint) * s.albedo;
    else if (v_material == 12) shop(s);
    else if (v_material == 13) s.albedo *= 0.6 + 0.6 * texture(u_noise, v_uv * vec2(1.5, 0.3) + v_position.xz).r;

    if (!facing) { s.normal = -s.normal; }
    float sun = dot(s.normal, u_sun);
    float direct = max(sun, 0.0);
    if (s.wrap > 0.0) direct = mix(direct, clamp((sun + s.wrap) / (1.0 + s.wrap), 0.0, 1.0), 0.7);
    float lit = direct > 0.0 ? shadow(v_position, s.normal) : 0.0;
    float up = 0.5 + 0.5 * s.normal.z;
    vec3 sky = mix(u_horizon, u_zenith, 0.45);
    vec3 ambient = mix(vec3(0.20, 0.19, 0.18), sky, up) * 0.62;
    float low = clamp(v_position.z / 1.2, 0.0, 1.0);
    if (v_material < 4 || v_material == 15 || v_material == 11 || v_material == 7) ambient *= 0.62 + 0.38 * low;
    vec3 colour = s.albedo * (u_sun_colour * direct * lit + ambient) + s.glow;
    if (s.gloss > 0.0) {
        vec3 r = reflect(-to_eye, s.normal);
        float f = s.reflect + (1.0 - s.reflect) * 0.9 * pow(1.0 - max(dot(s.normal, to_eye), 0.0), 5.0);
        vec3 mirror = sky_light(r);
        if (r.z > 0.0 && r.z < 0.35) mirror = mix(mirror, vec3(0.20, 0.20, 0.19), 0.75 * smoothstep(0.35, 0.10, r.z) * s.gloss);
        colour = mix(colour, mirror, f * s.gloss);
        colour += u_sun_colour * lit * s.gloss * 1.4 * pow(max(dot(r, u_sun), 0.0), 120.0);
    }
    float haze = 1.0 - exp(-distance_m * u_fog);
    vec3 air = sky_light(vec3(d.xy, max(abs(d.z), 0.02 * distance_m)) / distance_m);
    f_colour = vec4(tone(mix(colour, air, haze)), 1.0);
}
"""
)

# Dark smooth blob under a road user: the sky that its body hides from the ground.
CONTACT_FRAGMENT = """
#version 330
in vec2 v_uv;
uniform float u_strength;
out vec4 f_colour;
void main() {
    vec2 q = abs(v_uv);
    float d = pow(pow(q.x, 4.0) + pow(q.y, 4.0), 0.25);
    f_colour = vec4(0.0, 0.0, 0.0, u_strength * (1.0 - smoothstep(0.45, 1.0, d)));
}
"""

CONTACT_VERTEX = """
#version 330
uniform mat4 u_clip_from_scene; uniform mat4 u_scene_from_mesh; uniform vec2 u_half;
in vec2 in_corner;
out vec2 v_uv;
void main() { v_uv = in_corner; gl_Position = u_clip_from_scene * u_scene_from_mesh * vec4(in_corner * u_half, 0.02, 1.0); }
"""

__all__ = [
    "CONTACT_FRAGMENT", "CONTACT_VERTEX", "DEPTH_FRAGMENT", "DEPTH_VERTEX", "ID_FRAGMENT", "SKY_FRAGMENT",
    "SKY_VERTEX", "SURFACE_FRAGMENT", "VERTEX",
]
